//! How an embedded engine works, and how its URL says so.

use std::sync::Arc;
use std::time::Duration;

use ensue_log as log;

use crate::delivery::limits::AsideLimits;
use crate::engine::Url;
use crate::engine::{Atomicity, DedupWindow, Guarantees};
use crate::error::{Error, OpenError, Result};
use crate::time::Clock;

/// Checkpoints are never nearer than this, in bytes of log.
const CHECKPOINT_BYTES_MIN: u64 = 1024 * 1024;

/// How an embedded engine works; the options of its URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Whether an acknowledged event is on stable storage (`sync`, the default) or in the page
    /// cache (`os`).
    pub durability: log::Durability,
    /// How many of the latest event ids are remembered.
    pub dedup_window: u32,
    /// The size of a segment file.
    pub segment_bytes: u64,
    /// Whole segments older than this go.
    pub retention_age: Option<Duration>,
    /// Whole segments beyond this many bytes go.
    pub retention_bytes: Option<u64>,
    /// Retrying, parked and dead events of a group that are kept one by one.
    pub parked_max: usize,
    /// Those of one key, and events of it that are read ahead.
    pub key_events_max: usize,
    /// Bytes of state over all groups.
    pub state_bytes_max: usize,
    /// Events that wait for their time.
    pub schedules_max: usize,
    /// Bytes of log between two checkpoints at the least. No option of the URL.
    pub checkpoint_bytes: u64,
    /// The clock.
    pub clock: Clock,
    /// The URL to show.
    pub url: String,
}

impl Default for Settings {
    fn default() -> Self {
        let (log, bounds) = (log::Options::default(), AsideLimits::default());
        Self {
            durability: log.durability,
            dedup_window: log.dedup_window,
            segment_bytes: log.segment_bytes,
            retention_age: None,
            retention_bytes: None,
            parked_max: bounds.parked_max,
            key_events_max: bounds.lane_max,
            state_bytes_max: 256 * 1024 * 1024,
            schedules_max: 100_000,
            checkpoint_bytes: 64 * 1024 * 1024,
            clock: Clock::system(),
            url: "memory:".to_owned(),
        }
    }
}

impl Settings {
    /// The settings that `url` asks for.
    pub(crate) fn of(url: &Url, clock: Clock) -> Result<Self> {
        let mut settings = Self {
            clock,
            url: url.to_string(),
            ..Self::default()
        };
        if let Some(durability) = url.option("durability") {
            settings.durability = match durability {
                "sync" => log::Durability::Sync,
                "os" => log::Durability::Os,
                other => {
                    return Err(url.invalid(format!(
                        "`durability` is `{other}`, it must be `sync` or `os`"
                    )));
                }
            };
        }
        number(url, "dedup_window", &mut settings.dedup_window)?;
        number(url, "segment_bytes", &mut settings.segment_bytes)?;
        number(url, "parked_max", &mut settings.parked_max)?;
        number(url, "key_events_max", &mut settings.key_events_max)?;
        number(url, "state_bytes_max", &mut settings.state_bytes_max)?;
        number(url, "schedules_max", &mut settings.schedules_max)?;
        let mut bytes = 0;
        if number(url, "retention_bytes", &mut bytes)? {
            settings.retention_bytes = Some(bytes);
        }
        if let Some(age) = url.duration("retention_age")? {
            settings.retention_age = Some(age);
        }
        Ok(settings)
    }

    /// How much of a group is put aside one by one, and of a key.
    pub(crate) fn bounds(&self) -> AsideLimits {
        AsideLimits {
            parked_max: self.parked_max,
            lane_max: self.key_events_max.max(1),
            queue_max: self.key_events_max.max(1),
        }
    }

    /// What an engine with these settings promises, on storage that outlives its process or does not.
    pub(crate) fn guarantees(&self, survives_restart: bool) -> Guarantees {
        Guarantees {
            durable_on_acknowledge: self.durability == log::Durability::Sync,
            survives_restart,
            commit: Atomicity::Atomic,
            dedup: DedupWindow::Events(self.dedup_window.into()),
            conditional_append: true,
            schedules: true,
            replay: true,
            multi_process: false,
            failover: Duration::ZERO,
        }
    }

    /// What an engine with these settings promises whose log is the replica of a shared one.
    pub(crate) fn replica_guarantees(&self, is_durable: bool, failover: Duration) -> Guarantees {
        Guarantees {
            durable_on_acknowledge: is_durable,
            multi_process: true,
            failover,
            // The server has it.
            ..self.guarantees(true)
        }
    }

    /// What the log is opened with.
    pub(crate) fn log_options(&self) -> log::Options {
        let clock = self.clock.clone();
        log::Options {
            durability: self.durability,
            dedup_window: self.dedup_window,
            segment_bytes: self.segment_bytes,
            retention: log::Retention {
                age: self.retention_age,
                bytes: self.retention_bytes,
            },
            clock: Arc::new(move || clock.now().as_micros()),
            ..log::Options::default()
        }
    }

    /// Bytes of log between two checkpoints at the least. Only a checkpoint lets retention remove
    /// anything: what is beyond it stays for that long.
    pub(crate) fn checkpoint_every(&self) -> u64 {
        let Some(kept) = self.retention_bytes else {
            return self.checkpoint_bytes;
        };
        self.checkpoint_bytes
            .min((kept / 4).max(CHECKPOINT_BYTES_MIN))
    }

    /// The error of an option of the log that is out of range.
    pub(crate) fn refused(url: &Url, error: Error) -> Error {
        match error {
            Error::Open(error @ OpenError::Option { .. }) => url.invalid(error.to_string()),
            other => other,
        }
    }
}

/// Reads an option into `value`; whether there is one.
fn number<N: std::str::FromStr>(url: &Url, name: &str, value: &mut N) -> Result<bool> {
    let Some(text) = url.option(name) else {
        return Ok(false);
    };
    *value = text
        .parse()
        .map_err(|_| url.invalid(format!("`{name}` is `{text}`, it must be a whole number")))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Settings> {
        Settings::of(&Url::parse(url).unwrap(), Clock::system())
    }

    #[test]
    fn options_are_read() {
        let url = "embedded:./x?durability=os&dedup_window=5&retention_age=30d&parked_max=7";
        let settings = of(url).unwrap();
        assert_eq!(settings.durability, log::Durability::Os);
        assert_eq!((settings.dedup_window, settings.parked_max), (5, 7));
        assert_eq!(
            settings.retention_age,
            Some(Duration::from_secs(30 * 86_400))
        );
        assert_eq!(settings.retention_bytes, None);
    }

    #[test]
    fn bad_options_say_what_is_expected() {
        for (option, part) in [
            ("durability=maybe", "`sync` or `os`"),
            ("parked_max=-1", "a whole number"),
            ("retention_age=30", "1m30s"),
            ("retention_age=é", "1m30s"),
            ("segment_bytes=64MB", "a whole number"),
        ] {
            let error = of(&format!("memory:?{option}")).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
