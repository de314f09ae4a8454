//! State that handlers returned and whose commit is not durable yet.
//!
//! The next event of a key may be handled before the last one's commit is durable; it must still
//! read what that one wrote. Both are in one pipeline, so if the first is lost in a crash, so is
//! the second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hashbrown::HashMap;

use super::Dispatch;
use crate::engine::StateWrite;
use crate::event::Envelope;
use crate::service::PendingState;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell {
    topic: String,
    key: String,
    name: String,
}

/// A write of a cell, told apart from later ones.
#[derive(Debug)]
pub(crate) struct CellVersion(Cell, u64);

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Lets the common case, a service without state, pass without the lock.
    size: AtomicUsize,
    cells: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    written: u64,
    values: HashMap<Cell, (u64, Option<Bytes>)>,
}

impl Overlay {
    /// Shows `write` to the key's next events until its version is forgotten.
    pub(crate) fn show(&self, write: &StateWrite) -> CellVersion {
        let cell = Cell {
            topic: write.topic.clone(),
            key: write.key.clone(),
            name: write.name.clone(),
        };
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.written += 1;
        let version = cells.written;
        cells
            .values
            .insert(cell.clone(), (version, write.value.clone()));
        self.size.store(cells.values.len(), Ordering::Release);
        CellVersion(cell, version)
    }

    /// Forgets versions that are committed, unless newer ones took their place.
    pub(crate) fn forget(&self, committed: Vec<CellVersion>) {
        if committed.is_empty() {
            return;
        }
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        for CellVersion(cell, version) in committed {
            if cells
                .values
                .get(&cell)
                .is_some_and(|(newest, _)| *newest == version)
            {
                cells.values.remove(&cell);
            }
        }
        self.size.store(cells.values.len(), Ordering::Release);
    }
}

impl Overlay {
    /// What is not committed yet of a cell; `Some(None)` is a removal.
    pub(super) fn pending(&self, topic: &str, key: &str, name: &str) -> Option<Option<Bytes>> {
        if self.size.load(Ordering::Acquire) == 0 {
            return None;
        }
        let cell = Cell {
            topic: topic.into(),
            key: key.into(),
            name: name.into(),
        };
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values.get(&cell).map(|(_, value)| value.clone())
    }
}

/// State as the handlers of a worker see it.
pub(super) struct Cells {
    dispatch: Arc<Dispatch>,
    overlay: Arc<Overlay>,
}

impl Cells {
    pub(super) fn new(dispatch: Arc<Dispatch>, overlay: Arc<Overlay>) -> Self {
        Self { dispatch, overlay }
    }
}

impl PendingState for Cells {
    fn pending(&self, event: &Envelope, name: &str) -> Option<Option<Bytes>> {
        self.dispatch.uses_state(event, name);
        self.overlay.pending(event.topic(), event.key(), name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_write_outlives_the_commit_of_an_older_one() {
        let overlay = Overlay::default();
        let write = |value: &'static [u8]| StateWrite {
            topic: "t".into(),
            key: "k".into(),
            name: "n".into(),
            value: Some(Bytes::from_static(value)),
        };
        let old = overlay.show(&write(b"old"));
        let new = overlay.show(&write(b"new"));
        overlay.forget(vec![old]);
        assert_eq!(
            overlay.pending("t", "k", "n"),
            Some(Some(Bytes::from_static(b"new")))
        );
        overlay.forget(vec![new]);
        assert_eq!(overlay.pending("t", "k", "n"), None);
    }
}
