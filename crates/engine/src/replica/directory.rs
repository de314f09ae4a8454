//! Where a process keeps its copy of a shared log, and whether the copy is of that log.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ensue_log as log;

use super::frame::{Kind, Part};
use super::link::Link;
use super::node::Node;
use super::retry::patiently;
use super::succession::{self, Succession};
use crate::engine::Position;
use crate::engine::Url;
use crate::error::{EngineError, Error, OpenError, Result};
use crate::ids::FrameNumber;
use crate::log_error;
use crate::log_position::to_log;
use crate::runtime::closing;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::lookup;
use crate::runtime::settings::Settings;
use crate::runtime::upstream::Upstream as _;
use crate::shared_log::Message;

/// How many processes of one user may have a copy of the same log on one machine.
const COPIES_MAX: usize = 256;
/// What a log has beside single files: segments, their indexes, checkpoints.
const DIRECTORIES: [&str; 3] = ["log", "idx", "checkpoint"];
/// A frame of the shared log is one write to the copy, as far as this goes: the log's largest batch,
/// and what may stand before it in a frame.
const FRAME_BYTES_MAX: usize = 72 * 1024 * 1024;
/// The file that says that a directory is a copy's.
const SIGN: &str = "COPY";
/// What stays when a copy is rebuilt: the lock, for which another process may wait, who was here last,
/// and the sign.
const KEPT: [&str; 3] = ["LOCK", succession::FILE, SIGN];
/// How long the message is waited for that tells whether a copy is of this log.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens this process's copy, rebuilt if what is there is torn or of another log.
pub(super) async fn open(url: &Url, settings: Settings, link: Link) -> Result<Node> {
    let places = match url.option("replica") {
        Some(directory) => vec![PathBuf::from(directory)],
        None => {
            let base = cache(&link)?;
            (0..COPIES_MAX)
                .map(|number| base.join(number.to_string()))
                .collect()
        }
    };
    let mut owner = None;
    for place in places {
        let directory = place.display().to_string();
        let opened = open_at(&place, &settings, &link).await;
        match opened {
            Ok((engine, copied)) => {
                let owned = place.clone();
                let succession = lookup::blocking(move || Ok(Succession::begin(&owned))).await?;
                link.outbox().lock().succeed(succession);
                link.heard().opened_copy(copied);
                tracing::debug!(directory, "opened this process's copy of the log");
                return Ok(node(engine, link));
            }
            Err(Error::Open(OpenError::Locked { pid, .. })) => owner = pid,
            Err(error) => return Err(error),
        }
    }
    let directory = url.option("replica").unwrap_or("the user's cache");
    Err(Error::Open(OpenError::Locked {
        directory: directory.to_owned(),
        pid: owner,
    }))
}

/// The engine on the copy, and the link that it is kept by.
fn node(engine: EngineInner, link: Link) -> Node {
    let link = Arc::new(link);
    let settings = engine.settings();
    let guarantees = settings.replica_guarantees(link.is_durable(), link.lease());
    let engine = Arc::new(engine.with_upstream(link.clone(), guarantees));
    Node { engine, link }
}

/// The copy, and the time of the last frame in it.
async fn open_at(place: &Path, settings: &Settings, link: &Link) -> Result<(EngineInner, i64)> {
    for is_second in [false, true] {
        let (place, settings) = (place.to_owned(), settings.clone());
        let time = link.time();
        let options = log::Options {
            clock: Arc::new(move || time.load(Ordering::Acquire)),
            frame_bytes_max: FRAME_BYTES_MAX,
            queue_bytes_max: FRAME_BYTES_MAX,
            ..settings.log_options()
        };
        let shown = place.clone();
        let checked = place.clone();
        lookup::blocking(move || claim(&checked)).await?;
        let storage = Arc::new(log::storage::File::new(&place));
        let opened =
            lookup::blocking(move || EngineInner::open_with(storage, settings, options)).await;
        let why = match opened {
            Ok(engine) => match is_copy(&engine, link, &shown).await? {
                Ok(()) => {
                    let copied = time_of_last(&engine)?;
                    return Ok((engine, copied));
                }
                Err(why) => {
                    let closing =
                        lookup::blocking(move || closing::close_log(&engine, Ok(()))).await;
                    closing.map(|()| why)?
                }
            },
            Err(Error::Engine(EngineError::Corrupt(why))) => why,
            Err(error) => return Err(error),
        };
        if is_second {
            return Err(Error::Engine(EngineError::Corrupt(why)));
        }
        tracing::warn!(
            directory = %shown.display(),
            why,
            "this process's copy of the log is rebuilt"
        );
        lookup::blocking(move || clear(&shown)).await?;
    }
    Err(Error::Engine(EngineError::Closed))
}

/// Says that the directory is a copy's, which may be rebuilt at any time: never one that holds
/// something else.
fn claim(place: &Path) -> Result<()> {
    let failed = |source| {
        Error::Engine(EngineError::Io {
            what: format!("could not use {} for a copy", place.display()),
            reason: source,
        })
    };
    create(place).map_err(failed)?;
    let sign = place.join(SIGN);
    if sign.exists() {
        return Ok(());
    }
    if std::fs::read_dir(place).map_err(failed)?.next().is_some() {
        return Err(Error::Open(OpenError::NotACopy {
            directory: place.display().to_string(),
        }));
    }
    std::fs::write(sign, "The copy of a shared log, rebuilt when needed.\n").map_err(failed)
}

/// A directory whose owner alone may look into it, as that of a log is, unless it is there.
fn create(place: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(place)
}

/// Whether what was opened is a whole copy of what the server has; if not, why.
///
/// # Errors
/// [`EngineError::Corrupt`] when the server has another log, or none any more.
async fn is_copy(engine: &EngineInner, link: &Link, place: &Path) -> Result<Result<(), String>> {
    let (mark, end) = {
        let mark = engine.locked().state().processes().mark();
        (mark, engine.end())
    };
    let Some(mark) = mark else {
        let is_empty = end == Position::ZERO;
        return Ok(is_empty
            .then_some(())
            .ok_or_else(|| "it is not the copy of a shared log".to_owned()));
    };
    if mark.position.next() != end {
        return Ok(Err("the process ended within a frame".to_owned()));
    }
    // It answered a moment ago, and may be gone since.
    let (log, server) = (link.shared_log(), link.server());
    let end = patiently(server, || log.end()).await?;
    let why = if end <= mark.sequence {
        "the server has less than the copy"
    } else {
        // Looked up, not read: a slow server's read brings nothing although it is there.
        let found = patiently(server, || log.find(mark.sequence)).await?;
        let is_same = found.is_some_and(|body| {
            let part = Part::read(mark.sequence, &body);
            part.is_ok_and(|it| it.checksum == mark.checksum)
        });
        if is_same {
            return Ok(Ok(()));
        }
        "the server has something else in that place"
    };
    // One that lost its end, as a server that does not sync may after a power cut, is gone on with.
    // In place of one that is another one, or is gone, none is begun without a word.
    let seed = engine.locked().state().processes().seed();
    let begin = first_message(link)
        .await?
        .map(|message| Part::read(message.sequence, &message.body));
    // It begins with the first frame of the first process. One that was emptied under that very
    // process may have later ones of it.
    let is_first = |part: &Part| part.kind == Kind::Frame && part.counter == FrameNumber::FIRST;
    let found = match begin {
        Some(Ok(begin)) if is_first(&begin) && Some(begin.writer.seed()) == seed => {
            return Ok(Err(why.to_owned()));
        }
        Some(Ok(_)) => "it begins with another message".to_owned(),
        Some(Err(error)) => format!("it begins with something else ({error})"),
        None => "it is empty".to_owned(),
    };
    Err(Error::Engine(EngineError::Corrupt(format!(
        "the log `{}` at `{}` is not the one that this process's copy in {} is of: {found}, and \
             message {} was expected to be there. Restore the log; or, if it was removed on \
             purpose, remove that directory and start again",
        server.namespace,
        server.shown,
        place.display(),
        mark.sequence
    ))))
}

/// The first message of the log; `None` when it has none.
async fn first_message(link: &Link) -> Result<Option<Message>> {
    let (log, server) = (link.shared_log(), link.server());
    let began = Instant::now();
    while patiently(server, || log.end()).await? > 0 {
        let read = patiently(server, || log.read(0, 1, PATIENCE)).await?;
        if let Some(first) = read.into_iter().next() {
            return Ok(Some(first));
        }
        // A slow server is not an empty one.
        if began.elapsed() >= server.connect_timeout {
            return Err(server.unavailable(format_args!(
                "it has messages, but sent none within {:?} (`connect_timeout`)",
                server.connect_timeout
            )));
        }
    }
    Ok(None)
}

/// When the last frame of a copy was written; 0 when there is none.
fn time_of_last(engine: &EngineInner) -> Result<i64> {
    let Some(mark) = engine.locked().state().processes().mark() else {
        return Ok(0);
    };
    let chunk = engine.view().read(to_log(mark.position), 1);
    let chunk = chunk.map_err(log_error::of_log)?;
    Ok(chunk.iter().last().map_or(0, |entry| entry.time))
}

/// Removes what a log consists of, and nothing else that may be in the directory.
fn clear(place: &Path) -> Result<()> {
    let failed = |source| {
        Error::Engine(EngineError::Io {
            what: format!("could not remove the copy in {}", place.display()),
            reason: source,
        })
    };
    for entry in std::fs::read_dir(place).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() && name.is_some_and(|name| DIRECTORIES.contains(&name)) {
            std::fs::remove_dir_all(path).map_err(failed)?;
        } else if path.is_file() && name.is_none_or(|name| !KEPT.contains(&name)) {
            std::fs::remove_file(path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Where copies of this log are kept by default.
fn cache(link: &Link) -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir);
    let server = link.server();
    // Different servers must not share a place, and a name says more than a number.
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, server.shown.as_bytes()).simple();
    let place = base
        .join("ensue")
        .join(format!("{}-{id}", server.namespace));
    create(&place).map_err(|source| {
        Error::Engine(EngineError::Io {
            what: format!("could not create {}", place.display()),
            reason: source,
        })
    })?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_that_was_cleared_is_as_good_as_new() {
        let place = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", place.path().display());
        for _ in 0..2 {
            let engine = crate::connect(&url).await.unwrap();
            let event = crate::event::Envelope::builder("t", "k")
                .source("/s")
                .key("k");
            let batch = vec![event.build().unwrap().into()];
            let appended = engine.append(batch).await.unwrap();
            assert!(!appended[0].is_duplicate);
            engine.close().await.unwrap();
            clear(place.path()).unwrap();
        }
    }

    #[test]
    fn what_is_no_copy_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        claim(&place.path().join("new")).unwrap();
        claim(&place.path().join("new")).unwrap();
        std::fs::write(place.path().join("thesis.txt"), "ten years").unwrap();
        let error = claim(place.path()).unwrap_err().to_string();
        assert!(error.contains("is not the copy"), "{error}");
    }
}
