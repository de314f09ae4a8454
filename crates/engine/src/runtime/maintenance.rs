//! What goes on in the background by itself: schedules whose time comes, checkpoints, retention.

use std::sync::Arc;

use super::engine_inner::EngineInner;
use super::{checkpoint, firing};

/// Starts the tasks. They hold the engine only while they work.
pub(crate) fn start(inner: &Arc<EngineInner>) {
    let weak = || Arc::downgrade(inner);
    inner.keep_task(tokio::spawn(firing::keep_firing(weak())));
    inner.keep_task(tokio::spawn(checkpoint::keep_writing(weak())));
    let engine = inner.clone();
    inner.keep_task(tokio::spawn(async move {
        if let Err(error) = engine.warm().await {
            tracing::warn!(%error, "could not load the ids of the last events");
        }
    }));
}
