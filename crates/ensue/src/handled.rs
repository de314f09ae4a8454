//! Waiting until a group has handled an event: how a program reads what it has just written.

use std::time::Duration;

use crate::engine::{Cursor, Handling, Position, SharedEngine};
use crate::error::{Error, GroupError, ReadError, Result};

/// So many looks follow the log closely; further ones come with a pause, as each takes time from those who
/// handle.
const CLOSE_LOOKS: u32 = 8;
/// The pause.
const PAUSE: Duration = Duration::from_millis(1);
/// How long to wait for something new in the log before looking all the same.
const LOOK_WAIT: Duration = Duration::from_millis(50);

/// See [`Engine::wait_until_handled`](crate::Engine::wait_until_handled).
pub(crate) async fn wait_until_handled(
    engine: &SharedEngine,
    group: &str,
    position: Position,
    deadline: Duration,
) -> Result<()> {
    let late = engine.clock().sleep(deadline);
    tokio::pin!(late);
    let mut looks = 0;
    loop {
        let progress = engine.progress(group, position).await?;
        let why = match progress.handling {
            Handling::Done => return Ok(()),
            Handling::PutAside => {
                "it is put aside: its key waits for another attempt, or has a dead letter; see `ensue \
                 status` and `ensue dead list`"
            }
            _ => {
                "the group is behind; wait longer, or see `ensue status` for its lag and its members"
            }
        };
        looks += 1;
        let end = progress.end.position();
        tokio::select! {
            looked = something(engine, progress.end, looks > CLOSE_LOOKS) => looked?,
            () = &mut late => {
                if position >= end {
                    // Another process may have appended it, and until now it might have come.
                    return Err(Error::Read(ReadError::BeyondEnd { position, end }));
                }
                return Err(Error::Group(GroupError::NotHandled {
                    group: group.to_owned(),
                    position,
                    waited_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
                    why,
                }));
            }
        }
    }
}

/// Waits until there is something new in the log, or for a moment.
async fn something(engine: &SharedEngine, end: Cursor, pauses: bool) -> Result<()> {
    if pauses {
        tokio::time::sleep(PAUSE).await;
    }
    tokio::time::timeout(LOOK_WAIT, engine.wait(end))
        .await
        .unwrap_or(Ok(()))
}
