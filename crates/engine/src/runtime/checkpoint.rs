//! Checkpoints of the state, and with them retention.

use std::sync::Weak;
use std::time::Duration;

use super::engine_inner::EngineInner;
use super::group_progress;
use super::lookup::blocking;
use crate::error::{EngineError, Error, Result};
use crate::log_error;
use crate::log_position::to_log;

/// How long to wait before something is tried again that the disk refused.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// Old segments are looked for this often at the least.
const TRIM_WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// Writes the state as of the last durable record, then removes what retention no longer keeps and
/// nothing needs. Blocks.
pub(crate) fn write(inner: &EngineInner) -> Result<()> {
    let (log, settings) = (inner.log(), inner.settings());
    let _exclusive = inner.checkpoints().exclusive();
    let (at, state) = {
        let mut locked = inner.advanced();
        group_progress::record_all(inner, &mut locked);
        // Cells are shared, not copied: the lock is held for a moment only.
        (locked.applied(inner.end()), locked.state().clone())
    };
    let (bytes, floor) = (
        state.encode()?,
        state.floor().map_or(at, |floor| floor.min(at)),
    );
    log.checkpoint(to_log(at), &bytes)
        .map_err(log_error::of_log)?;
    tracing::debug!(%at, bytes = bytes.len(), "wrote a checkpoint");
    inner.checkpoints().written(bytes.len());
    if settings.retention_age.is_some() || settings.retention_bytes.is_some() {
        let trimmed = log.trim(to_log(floor)).map_err(log_error::of_log)?;
        if trimmed.segments > 0 {
            let (segments, bytes) = (trimmed.segments, trimmed.bytes);
            tracing::info!(segments, bytes, first = %trimmed.first, "retention removed segments");
        }
    }
    Ok(())
}

/// Writes them as they become due. Holds the engine only while it works.
pub(super) async fn keep_writing(inner: Weak<EngineInner>) {
    loop {
        let Some(engine) = inner.upgrade() else {
            return;
        };
        let clock = engine.settings().clock.clone();
        let age = engine.settings().retention_age;
        let wait = age.map(|age| (age / 10).min(TRIM_WAIT_MAX));
        // The notification outlives the engine: it must not be kept alive while nothing is due.
        let due = engine.checkpoints().due();
        drop(engine);
        match wait {
            None => due.notified().await,
            Some(wait) => tokio::select! {
                () = due.notified() => {}
                () = clock.sleep(wait) => {}
            },
        }
        let Some(engine) = inner.upgrade() else {
            return;
        };
        match blocking(move || write(&engine)).await {
            Ok(()) => {}
            Err(Error::Engine(
                EngineError::Closed | EngineError::Stopped(_) | EngineError::OwnershipLost { .. },
            )) => return,
            Err(error) => {
                tracing::warn!(%error, "could not write a checkpoint, retrying");
                clock.pause(REFUSED_WAIT).await;
            }
        }
    }
}
