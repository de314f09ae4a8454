//! How far a lane is, for those who ask.

use std::collections::HashMap;

use ensue::engine::Recorded;

use super::number;
use crate::projection::position::Aside;

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::projection) enum Place {
    /// Its turn has not come.
    Ahead,
    /// It is in the database, or was given up.
    Done,
    /// It is tried alone: its key has a position of its own.
    Aside(Aside),
}

type Keys = HashMap<(String, String), Aside>;

/// What changes about a key that has a position of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It has this one now.
    Put(Aside),
    /// It goes with its lane again.
    Rejoined(Aside),
}

impl Change {
    /// The keys that have a position of their own since, in the order of the log.
    pub(super) fn new_of(changes: &[Self]) -> Vec<Aside> {
        let new = changes.iter().filter_map(|change| match change {
            Self::Put(aside) if aside.until == aside.position + 1 => Some(aside.clone()),
            _ => None,
        });
        new.collect()
    }
}

/// A lane's position, and the keys of it that have one of their own.
#[derive(Debug)]
pub(super) struct View {
    position: i64,
    aside: Keys,
}

impl View {
    pub(super) fn new(position: i64, aside: Keys) -> Self {
        Self { position, aside }
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// The key's own position, if it has one.
    pub(super) fn aside(&self, event: &Recorded) -> Option<&Aside> {
        if self.aside.is_empty() {
            return None;
        }
        let envelope = &event.envelope;
        let key = (envelope.topic().to_owned(), envelope.key().to_owned());
        self.aside.get(&key)
    }

    /// Some of the keys that have a position of their own.
    pub(super) fn some_aside(&self, max: usize) -> Vec<Aside> {
        self.aside.values().take(max).cloned().collect()
    }

    pub(super) fn place(&self, event: &Recorded) -> Place {
        let at = number(event);
        match self.aside(event) {
            Some(aside) if at < aside.position => Place::Done,
            Some(aside) if at < aside.until => Place::Aside(aside.clone()),
            _ if at < self.position => Place::Done,
            _ => Place::Ahead,
        }
    }

    /// What a transaction has made of it.
    pub(super) fn moved(&mut self, position: i64, changes: Vec<Change>) {
        self.position = position;
        for change in changes {
            let (Change::Put(aside) | Change::Rejoined(aside)) = &change;
            let key = (aside.topic.clone(), aside.key.clone());
            match change {
                Change::Put(aside) => self.aside.insert(key, aside),
                Change::Rejoined(_) => self.aside.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue::{Envelope, Position, Timestamp};

    use super::*;

    fn event(key: &str, position: u64) -> Recorded {
        let envelope = Envelope::builder("orders", "order.created").key(key);
        Recorded {
            position: Position::new(position),
            appended: Timestamp::EPOCH,
            envelope: envelope.build().unwrap(),
        }
    }

    fn aside(position: i64, until: i64) -> Aside {
        Aside {
            topic: "orders".into(),
            key: "a".into(),
            position,
            until,
        }
    }

    #[test]
    fn a_key_goes_by_its_own_position_until_it_has_caught_up() {
        let mut view = View::new(0, Keys::new());
        assert_eq!(view.place(&event("a", 3)), Place::Ahead);
        view.moved(10, vec![Change::Put(aside(3, 8))]);
        assert_eq!(view.place(&event("a", 2)), Place::Done);
        assert_eq!(view.place(&event("a", 3)), Place::Aside(aside(3, 8)));
        assert_eq!(view.place(&event("a", 7)), Place::Aside(aside(3, 8)));
        assert_eq!(
            view.place(&event("a", 12)),
            Place::Ahead,
            "its lane is not there"
        );
        assert_eq!(view.place(&event("b", 3)), Place::Done);
        view.moved(10, vec![Change::Put(aside(6, 8))]);
        assert_eq!(view.place(&event("a", 3)), Place::Done);
        assert_eq!(view.place(&event("a", 7)), Place::Aside(aside(6, 8)));
        view.moved(10, vec![Change::Rejoined(aside(8, 8))]);
        assert_eq!(view.place(&event("a", 7)), Place::Done);
    }
}
