//! The end of an engine: members leave, a checkpoint is written, the log is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::checkpoint;
use super::engine_inner::{EngineInner, FAREWELL_WAIT_MAX};
use super::lookup::blocking;
use super::upstream::Upstream;
use crate::error::{EngineError, Error, Result};
use crate::log_error;
use crate::model::change::Change;
use crate::model::record::{Gone, Left};
use crate::model::refusal::Refusal;

/// How long the connections to a server may take to close.
const HANG_UP_WAIT_MAX: Duration = Duration::from_secs(2);

/// Closes the engine. Called again, or at the same time, it finds everything done.
pub(crate) async fn close(inner: &Arc<EngineInner>) -> Result<()> {
    if let Some(upstream) = inner.upstream() {
        return close_replica(inner, upstream).await;
    }
    let _turn = inner.admin_turn().await;
    if inner.mark_closed() {
        return Ok(());
    }
    // Goes on although the caller does not wait for it.
    let (inner, runtime) = (inner.clone(), Handle::current());
    blocking(move || {
        inner.stop_tasks();
        let left = left_by_all(&inner);
        let recorded = if left.is_empty() {
            Ok(())
        } else {
            runtime.block_on(inner.record_last(|_| left.clone()))
        };
        close_log(&inner, recorded)
    })
    .await
}

/// Writes a checkpoint, unless what was to be recorded before could not be, and lets go of the log.
/// Blocks.
pub(crate) fn close_log(inner: &EngineInner, recorded: Result<()>) -> Result<()> {
    inner.stop_tasks();
    inner.locked().advance();
    let checkpoint = recorded.and_then(|()| checkpoint::write(inner));
    let closed = inner.log().close().map_err(log_error::of_log);
    inner.locked().advance();
    match checkpoint {
        // The log says better what happened.
        Err(Error::Engine(
            EngineError::Closed | EngineError::Stopped(_) | EngineError::OwnershipLost { .. },
        ))
        | Ok(()) => closed,
        Err(error) => closed.and(Err(error)),
    }
}

/// Records that this process leaves, closes the copy, lets go of the server: within a time that does
/// not depend on the server.
async fn close_replica(inner: &Arc<EngineInner>, upstream: &dyn Upstream) -> Result<()> {
    let until = Instant::now() + FAREWELL_WAIT_MAX;
    // Who holds this may wait for a server that does not answer, and is told below.
    let turn = tokio::time::timeout_at(until, inner.admin_turn()).await;
    if inner.mark_closed() {
        // Another call closes it, and has the same time for it.
        let _closed = tokio::time::timeout(2 * FAREWELL_WAIT_MAX, inner.admin_turn()).await;
        return Ok(());
    }
    record_farewell(inner, until).await;
    let closing = inner.clone();
    let closed = blocking(move || close_log(&closing, Ok(()))).await;
    let hanging_up = upstream.hang_up();
    if tokio::time::timeout(HANG_UP_WAIT_MAX, hanging_up)
        .await
        .is_err()
    {
        tracing::warn!("the connections to the server do not close: they are left alone");
    }
    drop(turn);
    closed
}

/// Records that all members left and that this process is gone, if that works until then.
async fn record_farewell(inner: &EngineInner, until: Instant) {
    let left = left_by_all(inner);
    let recording = inner.record_last(|locked| {
        let gone = Change::Gone(Gone {
            boot: locked.boot(),
            counter: None,
        });
        left.iter().cloned().chain([gone]).collect()
    });
    let why = match tokio::time::timeout_at(until, recording).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_elapsed) => Some("the server does not answer".to_owned()),
    };
    if let Some(why) = why {
        tracing::warn!(
            why,
            "could not record that this process ends: its lease will expire"
        );
    }
    inner.halt(&Refusal::Closed);
}

/// Ends the engine like a killed process: no member leaves, nothing is recorded.
pub(crate) fn abandon(inner: &EngineInner) {
    inner.mark_closed();
    inner.stop_tasks();
    inner.locked().fence_all();
    inner.halt(&Refusal::Closed);
}

/// Fences all members; the records that they left.
fn left_by_all(inner: &EngineInner) -> Vec<Change> {
    let mut locked = inner.advanced();
    let members = locked.members_here();
    locked.fence_all();
    let left = |(group, member)| Change::Left(Left { group, member });
    members.into_iter().map(left).collect()
}
