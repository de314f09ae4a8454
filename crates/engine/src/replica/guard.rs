//! Whether the log on the server is still the one that was read.
//!
//! A log may be removed under those who use it, emptied, put back from an older backup, or lose
//! messages, and another may take its place: reading may then wait for ever for what comes next,
//! and what is appended may be in a log that no process reads. So the last frame that was folded is
//! looked up on the server now and then, also while nothing happens. It is a message with a random
//! writer and a number of its own: no other log has it there. And the server is asked whether it
//! still has those before it: this process has read them, those that come after it would not.

use std::sync::Arc;
use std::time::Duration;

use super::frame::Part;
use super::node::WeakNode;
use crate::error::{EngineError, Error, Result};
use crate::model::processes::Mark;
use crate::shared_log::SharedLog;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks until the engine ends; holds it only for a moment.
pub(super) async fn run(node: WeakNode) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        match look(&node).await {
            // Reading and appending say so, and go on when it is back.
            Ok(()) | Err(Error::Engine(EngineError::Unavailable { .. })) => {}
            Err(error) => return node.stop_for(&error),
        }
    }
}

/// Whether the last frame that was folded is there, and every message before it.
async fn look(node: &WeakNode) -> Result<()> {
    let Some(folded) = Folded::of(node)? else {
        return Ok(());
    };
    folded.check().await?;
    folded.log.check_whole(folded.mark.sequence).await
}

/// Looks the last frame that was folded up on the server. It is asked for that message alone: a
/// server that is slow may have it and send nothing for a while.
///
/// # Errors
/// [`EngineError::Corrupt`] when it is not there; [`EngineError::Unavailable`];
/// [`EngineError::Closed`].
pub(super) async fn check(node: &WeakNode) -> Result<()> {
    match Folded::of(node)? {
        Some(folded) => folded.check().await,
        None => Ok(()),
    }
}

/// The last frame that was folded, and where it came from.
struct Folded {
    log: Arc<dyn SharedLog>,
    server: String,
    mark: Mark,
}

impl Folded {
    fn of(node: &WeakNode) -> Result<Option<Self>> {
        let node = node.upgrade().ok_or(EngineError::Closed)?;
        let mark = node.engine.locked().state().processes().mark();
        Ok(mark.map(|mark| Self {
            log: node.link.shared_log().clone(),
            server: node.link.server().shown.clone(),
            mark,
        }))
    }

    async fn check(&self) -> Result<()> {
        is_there(&*self.log, self.mark)
            .await?
            .map_err(|found| lost(&self.server, self.mark, found))
    }
}

/// Whether the server has the frame where it was read; if not, what it has.
async fn is_there(log: &dyn SharedLog, mark: Mark) -> Result<Result<(), &'static str>> {
    let Some(body) = log.find(mark.sequence).await? else {
        return Ok(Err("there is none"));
    };
    let part = Part::read(mark.sequence, &body);
    let is_same = part.is_ok_and(|part| part.checksum == mark.checksum);
    Ok(is_same.then_some(()).ok_or("there is another one"))
}

/// The error of a log that is not what it was.
pub(super) fn lost(server: &str, mark: Mark, found: &str) -> Error {
    Error::Engine(EngineError::Corrupt(format!(
        "the log at `{server}` is not the one that was read, or lost what it had acknowledged: \
         message {}, which was read, was expected, and {found}. Stop all processes of this \
         namespace and restore the log; or start again, with what the server has now",
        mark.sequence
    )))
}
