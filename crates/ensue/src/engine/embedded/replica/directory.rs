//! Where a process keeps its copy of a shared log, and whether the copy is of that log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ensue_log as log;

use super::frame::Part;
use super::{Outbox, Replica, fetch};
use crate::engine::embedded::settings::Settings;
use crate::engine::embedded::shared::Shared;
use crate::engine::table::Url;
use crate::error::{Error, Result};

/// How many processes of one user may have a copy of the same log on one machine.
const COPIES_MAX: usize = 256;
/// How long the message is waited for that tells whether a copy is of this log.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens this process's copy, made anew if what is there is torn or of another log.
pub(super) async fn open(
    url: &Url,
    settings: Settings,
    replica: Replica,
    outbox: Outbox,
) -> Result<Arc<Shared>> {
    let places = match url.option("replica") {
        Some(directory) => vec![PathBuf::from(directory)],
        None => {
            let base = cache(&replica)?;
            (0..COPIES_MAX)
                .map(|number| base.join(number.to_string()))
                .collect()
        }
    };
    let mut owner = 0;
    for place in places {
        let directory = place.display().to_string();
        let opened = open_at(&place, &settings, &replica).await;
        match opened {
            Ok(shared) => {
                let shared = Arc::new(shared.with_replica(replica, outbox));
                tracing::debug!(directory, "opened this process's copy of the log");
                return Ok(shared);
            }
            Err(Error::Locked { pid, .. }) => owner = pid,
            Err(error) => return Err(error),
        }
    }
    let directory = url.option("replica").unwrap_or("the user's cache");
    Err(Error::Locked {
        directory: directory.to_owned(),
        pid: owner,
    })
}

async fn open_at(place: &Path, settings: &Settings, replica: &Replica) -> Result<Shared> {
    for is_second in [false, true] {
        let (place, settings) = (place.to_owned(), settings.clone());
        let time = replica.time.clone();
        let options = log::Options {
            clock: Arc::new(move || time.load(Ordering::Acquire)),
            ..settings.log_options()
        };
        let shown = place.clone();
        let storage = Arc::new(log::storage::File::new(&place));
        let opened = fetch::blocking(move || Shared::open_with(storage, settings, options)).await;
        let why = match opened {
            Ok(shared) => match is_copy(&shared, replica).await? {
                Ok(()) => return Ok(shared),
                Err(why) => {
                    let closing = fetch::blocking(move || shared.close()).await;
                    closing.map(|()| why)?
                }
            },
            Err(Error::Corrupt(why)) => why,
            Err(error) => return Err(error),
        };
        if is_second {
            return Err(Error::Corrupt(why));
        }
        tracing::warn!(
            directory = %shown.display(),
            why,
            "this process's copy of the log is made anew"
        );
        fetch::blocking(move || clear(&shown)).await?;
    }
    Err(Error::Closed)
}

/// Whether what was opened is a whole copy of what the server has; if not, why.
async fn is_copy(shared: &Shared, replica: &Replica) -> Result<Result<(), String>> {
    let (mark, end) = {
        let core = shared.core();
        (core.state.cluster.mark, shared.log.durable().get())
    };
    let Some(mark) = mark else {
        let is_empty = end == 0;
        return Ok(is_empty
            .then_some(())
            .ok_or_else(|| "it is not the copy of a shared log".to_owned()));
    };
    if mark.position + 1 != end {
        return Ok(Err("the process ended within a frame".to_owned()));
    }
    let log = &replica.shared_log;
    if log.end().await? <= mark.sequence {
        return Ok(Err("the server has less than the copy".to_owned()));
    }
    let found = log.read(mark.sequence, 1, PATIENCE).await?;
    let is_same = found.first().is_some_and(|message| {
        let part = Part::read(message.sequence, &message.body);
        message.sequence == mark.sequence && part.is_ok_and(|it| it.checksum == mark.checksum)
    });
    Ok(is_same
        .then_some(())
        .ok_or_else(|| "the server has something else in that place".to_owned()))
}

/// Removes the files of a log, not its directories, and nothing in any others that are there.
fn clear(place: &Path) -> Result<()> {
    let failed = |source| Error::Io {
        what: format!("could not remove the copy in {}", place.display()),
        source,
    };
    for part in ["", "log", "idx", "checkpoint"] {
        let files = match std::fs::read_dir(place.join(part)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            files => files.map_err(failed)?,
        };
        for entry in files {
            let path = entry.map_err(failed)?.path();
            // The lock stays: somebody may wait for it.
            if path.is_file() && path.file_name().is_none_or(|name| name != "LOCK") {
                std::fs::remove_file(path).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Where copies of this log are kept by default.
fn cache(replica: &Replica) -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir);
    let server = &replica.server;
    // Different servers must not share a place, and a name says more than a number.
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, server.shown.as_bytes()).simple();
    let place = base
        .join("ensue")
        .join(format!("{}-{id}", server.namespace));
    std::fs::create_dir_all(&place).map_err(|source| Error::Io {
        what: format!("could not create {}", place.display()),
        source,
    })?;
    Ok(place)
}
