//! What a group records of itself while its members work: events that wait behind a blocked key, and
//! how far it has passed events that are nothing for it.

use super::engine_inner::{EngineInner, batch_of};
use super::locked_state::LockedState;
use super::pending_changes::Terms;
use crate::error::Result;
use crate::log_error;
use crate::model::change::Change;
use ensue_log as log;

/// Records how far groups are that have nothing to settle: otherwise they would pin the log.
pub(crate) fn record_all(inner: &EngineInner, locked: &mut LockedState) {
    for name in locked.groups_here() {
        if let Some((session, group)) = locked.session_mut(&name) {
            session.pass(group.low(), 1);
        }
        if let Err(error) = record(inner, locked, &name) {
            tracing::debug!(%error, group = name, "could not record how far a group is");
        }
    }
}

/// Records what was met of blocked keys and what was passed. It is not waited for: until it is
/// durable, the low-water mark stays before it.
pub(crate) fn record(inner: &EngineInner, locked: &mut LockedState, name: &str) -> Result<()> {
    while record_part(inner, locked, name)? {}
    Ok(())
}

/// Records as much of that as fits into one record; whether there may be more.
fn record_part(inner: &EngineInner, locked: &mut LockedState, name: &str) -> Result<bool> {
    let now = locked.now();
    let Some((session, group)) = locked.session_mut(name) else {
        return Ok(false);
    };
    let Some(committed) = session.park(name, group, now) else {
        return Ok(false);
    };
    let epoch = session.epoch();
    let changes = vec![Change::Committed(Box::new(committed))];
    let batch = batch_of(&changes)?;
    inner.grew(batch.bytes());
    let terms = Terms {
        epoch: Some(epoch),
        ..Terms::default()
    };
    let outcome = inner.submit_locked(locked, batch, changes, terms);
    if let Some((session, _)) = locked.session_at(name, epoch) {
        match &outcome {
            Ok(submitted) => session.parking(Some(submitted.clone())),
            Err(_) => session.parking_refused(),
        }
    }
    match outcome {
        Ok(_) => Ok(true),
        Err(log::SubmitError::Full(_)) => Ok(false),
        Err(error) => Err(log_error::of_submit(error)),
    }
}
