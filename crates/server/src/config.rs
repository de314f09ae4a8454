//! The settings of a server, and the file that holds them.

use std::time::Duration;

use ensue::engine::APPEND_EVENTS_MAX;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::address::ListenAddress;
use crate::closest::closest;
use crate::duration;
use crate::webhooks::WebhookConfig;

/// The largest configuration file, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The most names that a server may be reached by.
const HOSTS_MAX: usize = 64;

/// The settings of a server: what is not said has its default.
///
/// ```
/// use ensue_server::Config;
///
/// let config: Config = r#"
///     listen = "127.0.0.1:4000"
///
///     [limits]
///     batch_events_max = 500
///     request_timeout = "5s"
/// "#.parse()?;
/// assert_eq!(config.limits.batch_events_max, 500);
/// # Ok::<(), ensue_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Config {
    /// The engine's URL, for `ensue serve`.
    pub engine: Option<String>,
    /// The address to listen on.
    pub listen: ListenAddress,
    /// Names besides those of loopback that clients may reach the server by (the header `Host`): that
    /// of a proxy before it.
    pub hosts: Vec<String>,
    /// How much one client, and all of them, may ask for.
    pub limits: Limits,
    /// Where events are delivered to, and who may send them.
    pub webhooks: WebhookConfig,
}

/// How much one client, and all of them, may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections at a time.
    pub connections_max: u32,
    /// The largest head of a request (its line and its headers), in bytes.
    pub headers_bytes_max: usize,
    /// The largest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// The most bytes that the bodies of all requests under way, and the events on their way to
    /// clients, may have together.
    pub bodies_bytes_max: usize,
    /// The most events in one batch.
    pub batch_events_max: usize,
    /// The most bytes of events that one answer has, and at most one event more.
    pub answer_bytes_max: usize,
    /// The most places of the log that a read goes through for one answer.
    pub scan_events_max: u64,
    /// How long a read goes through the log for one answer.
    #[serde(with = "duration")]
    pub scan_timeout: Duration,
    /// The most streams of events at a time.
    pub streams_max: usize,
    /// How long a stream may have nothing to say, before it says that it is there.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How long a client may take to send the head of a request, and how long a connection may be
    /// idle.
    #[serde(with = "duration")]
    pub headers_timeout: Duration,
    /// How long a client may take to send a body.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// How long an answer may take after the body was read.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How long a client may take no byte of its answer.
    #[serde(with = "duration")]
    pub stalled_timeout: Duration,
    /// How long requests under way may go on when the server is asked to stop.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            headers_bytes_max: 64 * 1024,
            body_bytes_max: 16 * 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            batch_events_max: 10_000,
            answer_bytes_max: 8 * 1024 * 1024,
            scan_events_max: 10_000_000,
            scan_timeout: Duration::from_secs(5),
            streams_max: 1024,
            heartbeat: Duration::from_secs(15),
            headers_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            stalled_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// Why a text is not a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not TOML, or a value has the wrong type.
    #[error("the configuration cannot be read: {0}")]
    Malformed(String),
    /// It has a setting that does not exist.
    #[error("there is no setting `{name}`; {advice}")]
    Unknown {
        /// The setting, with its section.
        name: String,
        /// What was meant, or what there is.
        advice: String,
    },
    /// A value is out of its range.
    #[error("the setting `{name}` is {value}; it must be between {min} and {max}")]
    Range {
        /// The setting, with its section.
        name: &'static str,
        /// Its value.
        value: String,
        /// The smallest allowed.
        min: String,
        /// The largest allowed.
        max: String,
    },
    /// A webhook cannot be as it is said.
    #[error("the webhook `{name}` cannot be: {problem}")]
    Webhook {
        /// Its name.
        name: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
}

impl std::str::FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.len() > TEXT_BYTES_MAX {
            let problem = format!("it has {} bytes, the limit is {TEXT_BYTES_MAX}", text.len());
            return Err(ConfigError::Malformed(problem));
        }
        let malformed = |error: toml::de::Error| {
            ConfigError::Malformed(error.to_string().trim_end().to_owned())
        };
        let table: Table = text.parse().map_err(malformed)?;
        // Known is what the defaults have.
        let known = serde_json::to_value(Self::default());
        let known = known.map_err(|error| ConfigError::Malformed(error.to_string()))?;
        check_names("", &table, &known)?;
        let config: Self = toml::from_str(text).map_err(malformed)?;
        config.check()?;
        Ok(config)
    }
}

fn check_names(section: &str, table: &Table, known: &serde_json::Value) -> Result<(), ConfigError> {
    let Some(known) = known.as_object() else {
        return Ok(());
    };
    for (name, value) in table {
        let full = format!("{section}{name}");
        match (known.get(name), value) {
            (Some(known), Value::Table(table)) => check_names(&format!("{full}."), table, known)?,
            (Some(_), _) => {}
            (None, _) => {
                let names = known.keys().map(String::as_str);
                let advice = match closest(name, names.clone()) {
                    Some(meant) => format!("did you mean `{section}{meant}`?"),
                    None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
                };
                let name = full.chars().take(80).collect();
                return Err(ConfigError::Unknown { name, advice });
            }
        }
    }
    Ok(())
}

impl Config {
    /// Checks that every setting is within its range.
    ///
    /// # Errors
    /// [`ConfigError::Range`] names the first that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        within("hosts", self.hosts.len(), 0, HOSTS_MAX)?;
        self.limits.check()?;
        let checked = self.webhooks.check();
        checked.map_err(|(name, problem)| ConfigError::Webhook { name, problem })
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        const GIB: usize = 1024 * 1024 * 1024;
        let bodies = self.bodies_bytes_max;
        within("limits.connections_max", self.connections_max, 1, 100_000)?;
        within(
            "limits.headers_bytes_max",
            self.headers_bytes_max,
            8192,
            1024 * 1024,
        )?;
        within("limits.bodies_bytes_max", bodies, 1024, 64 * GIB)?;
        within(
            "limits.body_bytes_max",
            self.body_bytes_max,
            1024,
            bodies.min(GIB),
        )?;
        within(
            "limits.batch_events_max",
            self.batch_events_max,
            1,
            APPEND_EVENTS_MAX,
        )?;
        within(
            "limits.answer_bytes_max",
            self.answer_bytes_max,
            1024,
            bodies.min(GIB),
        )?;
        within(
            "limits.scan_events_max",
            self.scan_events_max,
            1000,
            u64::MAX,
        )?;
        within("limits.streams_max", self.streams_max, 1, 100_000)?;
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3600);
        for (name, value) in [
            ("limits.headers_timeout", self.headers_timeout),
            ("limits.body_timeout", self.body_timeout),
            ("limits.request_timeout", self.request_timeout),
            ("limits.stalled_timeout", self.stalled_timeout),
            ("limits.scan_timeout", self.scan_timeout),
            ("limits.heartbeat", self.heartbeat),
        ] {
            within_times(name, value, second, hour)?;
        }
        within_times(
            "limits.drain_timeout",
            self.drain_timeout,
            Duration::ZERO,
            hour,
        )
    }
}

fn within<T: PartialOrd + ToString>(
    name: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), ConfigError> {
    if value >= min && value <= max {
        return Ok(());
    }
    let (value, min, max) = (value.to_string(), min.to_string(), max.to_string());
    Err(ConfigError::Range {
        name,
        value,
        min,
        max,
    })
}

fn within_times(
    name: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<(), ConfigError> {
    if value >= min && value <= max {
        return Ok(());
    }
    let text = |duration: Duration| format!("{duration:?}");
    let (value, min, max) = (text(value), text(min), text(max));
    Err(ConfigError::Range {
        name,
        value,
        min,
        max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Config>().unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!("".parse::<Config>().unwrap(), Config::default());
        let config: Config = "[limits]\nconnections_max = 7\ndrain_timeout = \"2m\""
            .parse()
            .unwrap();
        assert_eq!(config.limits.connections_max, 7);
        assert_eq!(config.limits.drain_timeout, Duration::from_secs(120));
        assert_eq!(
            config.limits.body_bytes_max,
            Limits::default().body_bytes_max
        );
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn an_unknown_setting_is_an_error_with_a_suggestion() {
        let text = error("[limits]\nbody_byte_max = 1");
        assert!(text.contains("no setting `limits.body_byte_max`"), "{text}");
        assert!(
            text.contains("did you mean `limits.body_bytes_max`"),
            "{text}"
        );
        let text = error("colour = 1");
        assert!(
            text.contains("known are") && text.contains("listen"),
            "{text}"
        );
        assert!(error("[limit]\n").contains("did you mean `limits`"));
    }

    #[test]
    fn a_value_out_of_its_range_or_of_another_type_is_an_error_that_names_it() {
        for (text, parts) in [
            (
                "[limits]\nconnections_max = 0",
                &["connections_max` is 0", "between 1"][..],
            ),
            (
                "[limits]\nbody_bytes_max = 999999999",
                &["body_bytes_max", "268435456"],
            ),
            (
                "[limits]\nbody_timeout = \"2h\"",
                &["body_timeout", "3600s"],
            ),
            ("[limits]\nbody_timeout = 5", &["body_timeout"]),
            ("[limits]\nbody_timeout = \"soon\"", &["body_timeout"]),
            (
                "listen = \"0.0.0.0:1\"",
                &["listen", "not a loopback address"],
            ),
            ("listen = ", &["cannot be read"]),
            ("limits = 5", &["limits"]),
        ] {
            let error = error(text);
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{text}: {error}"
            );
        }
    }
}
