//! What waits to be committed, and what of it may not be.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::outcome::{Lane, Outcomes};

/// The outcomes that the workers gave, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Outcomes>,
    /// Parts of a commit that the engine refused, the first one last: each is tried on its own.
    apart: Vec<Outcomes>,
    /// Keys whose outcome was refused. What was handled after it may have seen it: it is kept here
    /// until the dead letter is known, and then handed back with it.
    held: HashMap<Lane, Outcomes>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.apart.is_empty() && self.waiting.is_empty()
    }

    /// Adds what a worker finished.
    pub(super) fn push(&mut self, mut outcomes: Outcomes) {
        for (lane, held) in &mut self.held {
            held.merge(outcomes.take_lane(*lane));
        }
        if !outcomes.is_empty() {
            self.waiting.push_back(outcomes);
        }
    }

    /// As much as one commit takes.
    pub(super) fn pop(&mut self) -> Outcomes {
        if let Some(part) = self.apart.pop() {
            return part;
        }
        let mut batch = Outcomes::default();
        while let Some(next) = self.waiting.front_mut() {
            if !next.fill(&mut batch) {
                break;
            }
            self.waiting.pop_front();
        }
        batch
    }

    /// Puts back what was refused, to be tried in smaller parts: in order, the first one first.
    pub(super) fn push_apart(&mut self, first: Outcomes, second: Outcomes) {
        for part in [second, first] {
            if !part.is_empty() {
                self.apart.push(part);
            }
        }
    }

    /// Holds what becomes of a key's events from here on; what is known of them already too.
    pub(super) fn hold(&mut self, lane: Lane) {
        let mut held = Outcomes::default();
        for part in self.apart.iter_mut().rev().chain(&mut self.waiting) {
            held.merge(part.take_lane(lane));
        }
        self.apart.retain(|part| !part.is_empty());
        self.waiting.retain(|part| !part.is_empty());
        self.held.entry(lane).or_default().merge(held);
    }

    /// What was held of a key, which goes on.
    pub(super) fn release(&mut self, lane: Lane) -> Outcomes {
        self.held.remove(&lane).unwrap_or_default()
    }
}
