//! One of the processes that share a log: its engine, and its link to the server.

use std::sync::{Arc, Weak};

use tokio::task::JoinHandle;

use super::link::Link;
use crate::error::Error;
use crate::ids::WriterId;
use crate::model::refusal::Refusal;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::locked_state::LockedState;

/// An engine on the replica of a shared log.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) engine: Arc<EngineInner>,
    pub(super) link: Arc<Link>,
}

/// What a task has of it between two pieces of work: it must not keep the engine alive.
#[derive(Clone, Debug)]
pub(super) struct WeakNode {
    engine: Weak<EngineInner>,
    pub(super) link: Arc<Link>,
}

impl Node {
    pub(super) fn downgrade(&self) -> WeakNode {
        WeakNode {
            engine: Arc::downgrade(&self.engine),
            link: self.link.clone(),
        }
    }

    /// Runs a task until it ends or the engine does.
    pub(super) fn spawn<F>(&self, task: impl FnOnce(WeakNode) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task: JoinHandle<()> = tokio::spawn(task(self.downgrade()));
        self.engine.keep_task(task);
    }

    /// Nothing goes on any more, for good: all that wait are told why, and so is the status.
    pub(super) fn stop_for(&self, error: &Error) {
        tracing::error!(%error, "the engine stops");
        // The status first: who is refused from now on may look there.
        self.link.heard().stopped(error.to_string());
        self.engine.halt(&Refusal::of(error));
        self.engine.locked().fence_all();
    }
}

impl WeakNode {
    /// Whether the engine is still there.
    pub(super) fn is_alive(&self) -> bool {
        self.engine.strong_count() > 0
    }

    pub(super) fn upgrade(&self) -> Option<Node> {
        Some(Node {
            engine: self.engine.upgrade()?,
            link: self.link.clone(),
        })
    }

    /// [`Node::stop_for`], unless the engine is gone.
    pub(super) fn stop_for(&self, error: &Error) {
        if let Some(node) = self.upgrade() {
            node.stop_for(error);
        }
    }
}

/// The other processes that live, the oldest first, and how many are older than this one.
pub(super) fn others(locked: &LockedState) -> (Vec<WriterId>, usize) {
    let (all, own) = (locked.state().processes().iter(), locked.boot());
    let others: Vec<_> = all.filter(|(boot, _)| *boot != own).collect();
    let elders = others.iter().filter(|(boot, _)| *boot < own).count();
    (others.iter().map(|(_, it)| it.writer).collect(), elders)
}
