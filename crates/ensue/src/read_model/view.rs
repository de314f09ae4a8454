//! The value, the position that it is at, and what was left out of it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use tokio::sync::watch;

use super::fold::{Fold, Folded};
use crate::engine::{Cursor, Position, Recorded};

/// How many events a model leaves out before it ends: what cannot apply so many is not the model of this log.
pub const LEFT_OUT_MAX: usize = 1_000;
/// How many events are applied before readers get their turn.
const EVENTS_AT_A_TIME: usize = 64;

/// A value at a position.
pub(super) struct Built<T> {
    pub(super) value: T,
    /// What comes before it is in the value, but for what was left out.
    pub(super) next: Cursor,
    /// What was left out, and why.
    pub(super) left_out: BTreeMap<Position, String>,
}

/// Where the value is, for those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has this event, or has left it out for that reason.
    Has(Option<String>),
    Ahead,
    /// It goes nowhere any more, for this reason.
    Ended(String),
}

/// Whether there is a value to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Yes,
    /// Not before it is at this position.
    From(Position),
    Ended(String),
}

/// How a page was applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many events were.
    All(u64),
    /// At this one a method has panicked.
    Panicked(Position, String),
    /// There were too many that could not be.
    TooManyLeftOut,
}

pub(super) struct View<T> {
    built: RwLock<Built<T>>,
    /// How far it is, for those who wait: they do not wait for a method that is at work.
    progress: watch::Sender<Progress>,
}

#[derive(Clone)]
struct Progress {
    next: Position,
    readable_from: Position,
    left_out: Arc<BTreeMap<Position, String>>,
    ended: Option<String>,
}

impl Progress {
    fn whole(&self) -> Whole {
        match &self.ended {
            Some(reason) => Whole::Ended(reason.clone()),
            None if self.next >= self.readable_from => Whole::Yes,
            None => Whole::From(self.readable_from),
        }
    }

    fn place(&self, position: Position) -> Place {
        match self.whole() {
            Whole::Ended(reason) => Place::Ended(reason),
            Whole::Yes if position < self.next => Place::Has(self.left_out.get(&position).cloned()),
            Whole::Yes | Whole::From(_) => Place::Ahead,
        }
    }
}

impl<T> View<T> {
    /// To be read from `readable_from` on.
    pub(super) fn new(built: Built<T>, readable_from: Position) -> Self {
        let progress = Progress {
            next: built.next.position(),
            readable_from,
            left_out: Arc::new(built.left_out.clone()),
            ended: None,
        };
        Self {
            built: RwLock::new(built),
            progress: watch::Sender::new(progress),
        }
    }

    // A method that panics does so within `Fold::apply`, and what a reader's closure holds poisons nothing.
    fn built_mut(&self) -> RwLockWriteGuard<'_, Built<T>> {
        self.built.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the value and what was left out of it, as of its position.
    pub(super) fn built<R>(&self, look: impl FnOnce(&Built<T>) -> R) -> R {
        look(&self.built.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn next(&self) -> Cursor {
        self.built(|built| built.next.clone())
    }

    /// What comes before it is in the value.
    pub(super) fn position(&self) -> Position {
        self.progress.borrow().next
    }

    /// Reads the value as of one position, if there is one to be read.
    pub(super) fn read<R>(&self, read: impl FnOnce(&T, Position) -> R) -> Result<R, Whole> {
        self.built(|built| {
            // Under the lock: what is thrown away is made unreadable before it is let go of.
            match self.progress.borrow().whole() {
                Whole::Yes => {}
                whole => return Err(whole),
            }
            Ok(read(&built.value, built.next.position()))
        })
    }

    /// Waits until the value has the event, or goes nowhere any more. Cancel-safe.
    pub(super) async fn reached(&self, position: Position) -> Place {
        let mut progress = self.progress.subscribe();
        loop {
            let place = progress.borrow_and_update().place(position);
            match place {
                // The sender is in here: it does not go before this does.
                Place::Ahead => drop(progress.changed().await),
                place => return place,
            }
        }
    }

    /// Waits until there is something to be read, or never will be. Cancel-safe.
    pub(super) async fn readable(&self) -> Whole {
        let mut progress = self.progress.subscribe();
        loop {
            let whole = progress.borrow_and_update().whole();
            match whole {
                Whole::From(_) => drop(progress.changed().await),
                whole => return whole,
            }
        }
    }

    /// Applies a page of the log. Readers get their turn in between, and see each event with its position.
    pub(super) fn take(&self, folds: &[Fold<T>], events: &[Recorded], next: Cursor) -> Taken {
        let mut applied = 0;
        for events in events.chunks(EVENTS_AT_A_TIME) {
            let mut built = self.built_mut();
            for event in events {
                match built.apply(folds, event) {
                    Folded::Applied => applied += 1,
                    Folded::Refused(reason) => {
                        tracing::warn!(position = %event.position, reason, "an event is left out");
                        built.left_out.insert(event.position, reason);
                        if built.left_out.len() > LEFT_OUT_MAX {
                            return Taken::TooManyLeftOut;
                        }
                    }
                    Folded::Panicked(reason) => {
                        // Nobody reads it before it was built again.
                        self.progress.send_modify(|progress| {
                            progress.next = Position::ZERO;
                            progress.readable_from =
                                progress.readable_from.max(event.position.next());
                        });
                        return Taken::Panicked(event.position, reason);
                    }
                }
                built.next = event.position.next().into();
            }
            self.show(&built);
        }
        let mut built = self.built_mut();
        built.next = next;
        self.show(&built);
        Taken::All(applied)
    }

    /// Tells how far the value is, while it is held.
    fn show(&self, built: &Built<T>) {
        self.progress.send_modify(|progress| {
            progress.next = built.next.position();
            if progress.left_out.len() != built.left_out.len() {
                progress.left_out = Arc::new(built.left_out.clone());
            }
        });
    }

    /// Puts another value in place of this one, to be read from `readable_from` on.
    pub(super) fn replace(&self, built: Built<T>, readable_from: Position) {
        let mut held = self.built_mut();
        self.progress.send_modify(|progress| {
            progress.next = built.next.position();
            progress.readable_from = readable_from;
            progress.left_out = Arc::new(built.left_out.clone());
        });
        *held = built;
    }

    /// From where on the value is read.
    pub(super) fn readable_from(&self) -> Position {
        self.progress.borrow().readable_from
    }

    /// It goes nowhere any more.
    pub(super) fn end(&self, reason: String) {
        self.progress
            .send_modify(|progress| progress.ended = Some(reason));
    }
}

impl<T> Built<T> {
    fn apply(&mut self, folds: &[Fold<T>], event: &Recorded) -> Folded {
        let fold = folds.iter().find(|fold| fold.takes(&event.envelope));
        match fold {
            Some(fold) if !self.left_out.contains_key(&event.position) => {
                fold.apply(&mut self.value, event)
            }
            _ => Folded::Applied,
        }
    }
}
