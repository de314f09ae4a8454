//! What a program holds of an engine.

use std::ops::Deref;
use std::sync::Arc;

use super::engine_inner::EngineInner;

/// Held by an engine, and by each member of a group. When the last one is dropped, the directory can
/// be opened again at once, whatever the background still works on.
#[derive(Debug)]
pub(crate) struct EngineHandle(Arc<EngineInner>);

impl EngineHandle {
    pub(crate) fn new(inner: Arc<EngineInner>) -> Self {
        inner.add_handle();
        Self(inner)
    }
}

impl Deref for EngineHandle {
    type Target = Arc<EngineInner>;

    fn deref(&self) -> &Arc<EngineInner> {
        &self.0
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.0.remove_handle();
    }
}
