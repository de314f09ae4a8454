//! What a directory is like as the place of a log, without opening the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ensue_log as log;
use ensue_log::storage::Ownership;
use rustix::fs::{Access, access, statvfs};

use super::settings::Settings;
use crate::engine::Finding;
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::runtime::lookup::blocking;
use crate::time::{Clock, Timestamp};

/// Less free space than this is worth a word, in bytes: a few segments, and it fills fast.
const SPACE_LOW_BYTES: u64 = 1024 * 1024 * 1024;
/// A log may be ahead of the clock by this much without a finding: time servers correct clocks.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Looks at the engine of `url`, as `ensue::engine::examine` says.
#[doc(hidden)]
pub async fn examine(url: Url) -> Result<Vec<Finding>> {
    let settings = Settings::of(&url, Clock::system())?;
    if url.scheme == "memory" {
        return Ok(vec![version(), in_memory()]);
    }
    let directory = PathBuf::from(crate::runtime::embedded::directory(&url)?);
    blocking(move || {
        // The nearest one there is: the others are made in it.
        let place = directory.ancestors().find(|path| path.is_dir());
        let place = place.unwrap_or(Path::new("."));
        Ok(vec![
            version(),
            existence(&directory),
            owner(&directory),
            clock(&directory, settings.clock.now()),
            permissions(place),
            space(place)?,
            durability(settings.durability),
            replication(),
        ])
    })
    .await
}

fn version() -> Finding {
    let found = format!("the embedded engine of ensue {}", env!("CARGO_PKG_VERSION"));
    Finding::well("version", found)
}

fn in_memory() -> Finding {
    Finding::weak(
        "durability",
        "the log is in this process's memory",
        "everything is gone when the process ends",
        "for tests only; `embedded:DIR` keeps it",
    )
}

fn existence(directory: &Path) -> Finding {
    let shown = directory.display();
    let found = if directory.is_dir() {
        format!("{shown} is there")
    } else {
        format!("{shown} is not there yet; an app makes it when it starts")
    };
    Finding::well("directory", found)
}

fn owner(directory: &Path) -> Finding {
    if !directory.join("LOCK").is_file() {
        return Finding::well("owner", "no process has opened it yet");
    }
    match log::storage::File::new(directory).owner() {
        Ok(Ownership::Free) => Finding::well("owner", "no process has it open"),
        Ok(Ownership::Owned { pid }) => {
            let pid = pid.map_or_else(String::new, |pid| format!(" {pid}"));
            Finding::well("owner", format!("process{pid} has it open"))
        }
        Err(error) => Finding::weak(
            "owner",
            format!("its lock cannot be looked at: {error}"),
            "no app can open the log",
            "give the user of the app the right to write the directory and what is in it",
        ),
    }
}

/// A log's time never goes back, so that it can be searched by time.
fn clock(directory: &Path, now: Timestamp) -> Finding {
    let newest = newest(directory).filter(|newest| newest.since(now) > AHEAD_MAX);
    let Some(newest) = newest else {
        return Finding::well("clock", "nothing in the log is later than now");
    };
    Finding::weak(
        "clock",
        format!("the newest record was written at {newest}, and the clock shows {now}"),
        "until the clock has passed that time, new records are stored with it: reads and resets by \
         time are wrong, and `retention_age` removes nothing",
        "set the clock right; if it is right now, `retention_bytes` limits the log meanwhile",
    )
}

/// When the newest record was written, if there is one that can be read.
fn newest(directory: &Path) -> Option<Timestamp> {
    let storage = log::storage::File::new(directory);
    let view = log::Follower::open(Arc::new(storage)).ok()?.view();
    let last = view.durable().get().checked_sub(1)?;
    let chunk = view.read(log::Position::new(last), 1).ok()?;
    let newest = chunk.iter().last()?;
    Some(Timestamp::from_micros(newest.time))
}

fn permissions(place: &Path) -> Finding {
    let shown = place.display();
    match access(place, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::well("permissions", format!("{shown} can be written to")),
        Err(error) => Finding::weak(
            "permissions",
            format!("{shown} cannot be written to: {}", io::Error::from(error)),
            "nothing can be appended",
            "give the user of the app the right to write it, on a file system that is not read-only",
        ),
    }
}

fn space(place: &Path) -> Result<Finding> {
    let system = statvfs(place).map_err(|error| {
        Error::Engine(EngineError::Io {
            what: format!("could not ask for the free space of {}", place.display()),
            reason: error.into(),
        })
    })?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let found = format!("{} MiB are free", free / (1024 * 1024));
    if free >= SPACE_LOW_BYTES {
        return Ok(Finding::well("space", found));
    }
    Ok(Finding::weak(
        "space",
        found,
        "appends are refused once the disk is full, and go on when there is space again",
        "free some space, or limit the log with `retention_bytes` or `retention_age`",
    ))
}

fn durability(durability: log::Durability) -> Finding {
    match durability {
        log::Durability::Sync => Finding::well(
            "durability",
            "what is acknowledged is on stable storage (`durability=sync`)",
        ),
        log::Durability::Os => Finding::weak(
            "durability",
            "what is acknowledged is in the page cache (`durability=os`)",
            "what was acknowledged survives the end of the process, but not a power cut",
            "leave the option `durability` away",
        ),
    }
}

/// One copy is what an embedded log is: to be known, and no fault of the place.
fn replication() -> Finding {
    Finding::well(
        "replication",
        "one copy, on this disk: back the directory up, or choose an engine on servers",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(url: &str, aspect: &str) -> Finding {
        let findings = examine(Url::parse(url).unwrap()).await.unwrap();
        let mut findings = findings.into_iter();
        findings.find(|it| it.aspect == aspect).unwrap()
    }

    #[tokio::test]
    async fn a_directory_is_looked_at_and_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        let url = format!("embedded:{}", directory.display());
        assert!(
            found(&url, "directory")
                .await
                .found
                .contains("not there yet")
        );
        assert_eq!(found(&url, "permissions").await.weakens, None);
        assert!(!parent.path().join("a").exists());

        let engine = crate::connect(&url).await.unwrap();
        let pid = std::process::id().to_string();
        assert!(found(&url, "owner").await.found.contains(&pid));
        engine.close().await.unwrap();
        assert!(
            found(&url, "owner")
                .await
                .found
                .contains("no process has it open")
        );
        // Looking at it does not keep it locked.
        crate::connect(&url).await.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn a_log_that_is_ahead_of_the_clock_is_said() {
        let parent = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", parent.path().display());
        assert_eq!(found(&url, "clock").await.weakens, None);
        for (at, is_ahead) in [
            ("2001-01-01T00:00:00Z", false),
            ("2901-01-01T00:00:00Z", true),
        ] {
            let hands = crate::time::VirtualClock::new(at.parse().unwrap());
            let engine = crate::connect_with(&url, hands.into()).await.unwrap();
            let event = crate::event::Envelope::builder("t", "e").build().unwrap();
            engine.append(vec![event.into()]).await.unwrap();
            engine.close().await.unwrap();
            let clock = found(&url, "clock").await;
            assert_eq!(clock.weakens.is_some(), is_ahead, "{clock:?}");
            assert_eq!(clock.found.contains(at), is_ahead, "{clock:?}");
        }
    }

    #[tokio::test]
    async fn a_relaxed_durability_is_said() {
        let parent = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", parent.path().display());
        assert_eq!(found(&url, "durability").await.weakens, None);
        let relaxed = found(&format!("{url}?durability=os"), "durability").await;
        assert!(relaxed.weakens.unwrap().contains("power cut"));
        assert!(relaxed.advice.is_some());
    }
}
