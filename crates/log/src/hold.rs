//! Several batches that are written at once, or not at all.

use std::sync::Arc;

use crate::codec::lock;
use crate::shared::Shared;

/// Nothing that is submitted is written while this lives; see [`Log::hold`](crate::Log::hold).
#[derive(Debug)]
#[must_use = "what is submitted is held back for as long as this lives"]
pub struct Hold(Arc<Shared>);

impl Hold {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        lock(&shared.state).held += 1;
        Self(shared)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.held = state.held.saturating_sub(1);
        if state.can_commit() {
            if state.writer_idle {
                self.0.work.notify_one();
            }
            // Those who wait for their frames commit them, when they are told that they can.
            let successor = state.successor();
            drop(state);
            if let Some(thread) = successor {
                thread.unpark();
            }
        }
    }
}
