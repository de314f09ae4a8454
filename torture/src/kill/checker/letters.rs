//! Dead letters: those that must be there, those that may, those that must not.

use std::collections::BTreeSet;

use super::{Checker, Kind, Stream};
use crate::kill::orders::{Fate, KEYS, Mark};
use crate::kill::report::Group;

/// An order that became a dead letter, or was about to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Letter {
    /// Its commit was acknowledged, or it was seen.
    pub(super) is_certain: bool,
    /// An operator began to discard it.
    is_discarding: bool,
    /// It is gone.
    is_discarded: bool,
}

/// A dead letter that the engine shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundLetter {
    pub(crate) mark: Mark,
    pub(crate) position: u64,
    pub(crate) hash: u64,
    pub(crate) attempts: u32,
}

impl Checker {
    pub(super) fn discarding(&mut self, marks: Vec<Mark>) {
        for mark in &marks {
            match self.letters.get_mut(mark) {
                Some(letter) => letter.is_discarding = true,
                None => self.accuse(Kind::Dead, format_args!("{mark} is dead, it never failed")),
            }
            self.unblock(*mark);
        }
        self.discarding = marks;
    }

    pub(super) fn discarded(&mut self) {
        for mark in std::mem::take(&mut self.discarding) {
            if let Some(letter) = self.letters.get_mut(&mark) {
                letter.is_certain = true;
                letter.is_discarded = true;
            }
        }
    }

    /// All dead letters that the engine shows.
    pub(crate) fn sees_letters(&mut self, found: &[FoundLetter]) {
        let mut shown = BTreeSet::new();
        for letter in found {
            let FoundLetter { mark, attempts, .. } = *letter;
            if !shown.insert(mark) {
                self.accuse(
                    Kind::Twice,
                    format_args!("the dead letter {mark} is there twice"),
                );
            }
            let order = self.place(Stream::Orders, mark);
            if order.is_none_or(|it| (it.position, it.hash) != (letter.position, letter.hash)) {
                let what = format!("the dead letter {mark} is not the order");
                self.accuse(Kind::Altered, what);
            }
            let attempts_min = crate::kill::child::ATTEMPTS;
            if attempts < attempts_min {
                let what = format!("{mark} is dead after {attempts} of {attempts_min} attempts");
                self.accuse(Kind::Dead, what);
            }
            match self.letters.get_mut(&mark) {
                None => self.accuse(Kind::Dead, format_args!("{mark} is dead, it never failed")),
                Some(letter) if letter.is_discarded => {
                    self.accuse(
                        Kind::Dead,
                        format_args!("{mark} was discarded and came back"),
                    );
                }
                Some(letter) => {
                    letter.is_certain = true;
                    letter.is_discarding = false;
                    self.is_done(mark);
                }
            }
        }
        let mut gone = Vec::new();
        for (mark, letter) in &mut self.letters {
            if shown.contains(mark) || !letter.is_certain {
                continue;
            }
            if letter.is_discarding {
                letter.is_discarded = true;
            } else {
                gone.push(*mark);
            }
        }
        for mark in gone {
            self.accuse(Kind::Dead, format_args!("the dead letter {mark} is gone"));
        }
    }

    /// What is dead was seen: it is not delivered again, and what must wait behind it does.
    fn is_done(&mut self, mark: Mark) {
        let is_parked = self.orders.fate(mark) == Fate::Parked;
        if let Some(lane) = self.lane_mut(Group::Trials, mark.0) {
            lane.acknowledged = lane.acknowledged.max(mark.1);
            if is_parked {
                lane.parked_behind = Some(mark.1);
            }
        }
    }

    /// Everything was handled: each order that cannot succeed has died.
    pub(super) fn check_deaths(&mut self) {
        let mut alive = Vec::new();
        for key in 0..KEYS {
            let marks = (1..=self.count(Stream::Orders, key)).map(|number| Mark(key, number));
            let doomed = marks.filter(|mark| self.orders.fate(*mark).is_doomed());
            alive.extend(doomed.filter(|mark| {
                let letter = self.letters.get(mark);
                !letter.is_some_and(|letter| letter.is_certain)
            }));
        }
        for mark in alive {
            self.accuse(
                Kind::Dead,
                format_args!("{mark} cannot succeed and has not died"),
            );
        }
    }

    /// Whether a dead letter must still be there.
    pub(super) fn is_kept(&self, mark: Mark) -> bool {
        let letter = self.letters.get(&mark);
        letter.is_some_and(|letter| {
            letter.is_certain && !letter.is_discarding && !letter.is_discarded
        })
    }
}
