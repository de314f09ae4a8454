//! The wrong passwords of a user: where they came from, and from where none is listened to for a while.
//!
//! Whoever knows an e-mail address can try passwords for it. So a place that tries too many is locked out, and not
//! the user; and all places from which the user never was share a few attempts, which come back slowly. Where the
//! user was before goes on as if nothing happened.

use std::time::Duration;

use ensue::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::OriginId;

/// How many wrong passwords in a row are too many from one place.
pub const LOCK_AFTER: u32 = 5;
/// How long no password from there is listened to then.
pub const LOCKED_FOR: Duration = Duration::from_secs(15 * 60);
/// How many attempts strangers have together: all places from which no one has logged in as the user.
pub const STRANGERS_ATTEMPTS: u32 = 20;
/// How long it takes until they have another.
pub const STRANGERS_EVERY: Duration = Duration::from_secs(60);
/// How many places are known: those from which the user was there last.
pub const KNOWN_MAX: usize = 8;
/// How many places with wrong passwords are told apart: the last ones.
pub const TRIED_MAX: usize = 32;

/// Where passwords of a user came from.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// The newest last.
    known: Vec<OriginId>,
    /// The newest last.
    tried: Vec<Tried>,
    /// When strangers have all their attempts again.
    strangers_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tried {
    origin: OriginId,
    /// Since the last right one, or the last lock.
    failures: u32,
    locked_until: Option<Timestamp>,
}

/// What a wrong password comes to.
pub(super) struct Failed {
    /// Until when its place is locked out, if it was one too many.
    pub(super) locked_until: Option<Timestamp>,
    /// When strangers have all their attempts again, if it took one of theirs.
    pub(super) strangers_until: Option<Timestamp>,
}

impl Attempts {
    /// Whether a password from there is looked at.
    pub(super) fn is_listened_to(&self, origin: &OriginId, now: Timestamp) -> bool {
        let tried = self.tried(origin).and_then(|tried| tried.locked_until);
        if tried.is_some_and(|until| now < until) {
            return false;
        }
        let left = self
            .strangers_until
            .map_or(Duration::ZERO, |it| it.since(now));
        self.known.contains(origin) || left <= STRANGERS_EVERY * (STRANGERS_ATTEMPTS - 1)
    }

    /// What one more wrong password from there comes to.
    pub(super) fn next(&self, origin: &OriginId, now: Timestamp) -> Failed {
        let failures = self.tried(origin).map_or(0, |tried| tried.failures);
        let is_too_many = failures + 1 >= LOCK_AFTER;
        let is_stranger = !self.known.contains(origin);
        let strangers_until = self.strangers_until.unwrap_or(now).max(now);
        Failed {
            locked_until: is_too_many.then(|| now.plus(LOCKED_FOR)),
            strangers_until: is_stranger.then(|| strangers_until.plus(STRANGERS_EVERY)),
        }
    }

    /// A password from there was wrong, which came to this.
    pub(super) fn failed(&mut self, origin: OriginId, failed: &Failed) {
        let place = self.tried.iter().position(|it| it.origin == origin);
        let before = place.map_or(0, |place| self.tried.remove(place).failures);
        if self.tried.len() == TRIED_MAX {
            self.tried.remove(0);
        }
        self.tried.push(Tried {
            origin,
            failures: if failed.locked_until.is_some() {
                0
            } else {
                before + 1
            },
            locked_until: failed.locked_until,
        });
        self.strangers_until = failed.strangers_until.or(self.strangers_until);
    }

    /// The user was there.
    pub(super) fn came_from(&mut self, origin: OriginId) {
        self.tried.retain(|it| it.origin != origin);
        self.known.retain(|it| *it != origin);
        if self.known.len() == KNOWN_MAX {
            self.known.remove(0);
        }
        self.known.push(origin);
    }

    /// All places are listened to again.
    pub(super) fn unlock(&mut self) {
        self.tried.clear();
    }

    fn tried(&self, origin: &OriginId) -> Option<&Tried> {
        self.tried.iter().find(|it| it.origin == *origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn origin(name: impl ToString) -> OriginId {
        OriginId::from_hash(name.to_string())
    }

    fn fail(attempts: &mut Attempts, origin: OriginId, second: i64) {
        let failed = attempts.next(&origin, at(second));
        attempts.failed(origin, &failed);
    }

    #[test]
    fn a_stranger_is_locked_out_and_the_user_is_not() {
        let (home, stranger) = (origin("home"), origin("stranger"));
        let mut attempts = Attempts::default();
        attempts.came_from(home.clone());
        for second in 0..i64::from(LOCK_AFTER) {
            assert!(attempts.is_listened_to(&stranger, at(second)));
            fail(&mut attempts, stranger.clone(), second);
        }
        let end = i64::from(LOCK_AFTER) - 1 + LOCKED_FOR.as_secs() as i64;
        assert!(!attempts.is_listened_to(&stranger, at(end - 1)));
        assert!(attempts.is_listened_to(&stranger, at(end)));
        for place in [&home, &origin("a train")] {
            assert!(attempts.is_listened_to(place, at(10)), "{place:?}");
        }
    }

    #[test]
    fn many_strangers_have_few_attempts_and_those_come_back_slowly() {
        let home = origin("home");
        let mut attempts = Attempts::default();
        attempts.came_from(home.clone());
        let mut tried = 0;
        for number in 0..1_000 {
            if attempts.is_listened_to(&origin(number), at(0)) {
                fail(&mut attempts, origin(number), 0);
                tried += 1;
            }
        }
        assert_eq!(tried, STRANGERS_ATTEMPTS);
        assert!(attempts.is_listened_to(&home, at(0)));
        let every = STRANGERS_EVERY.as_secs() as i64;
        assert!(!attempts.is_listened_to(&origin("x"), at(every - 1)));
        assert!(attempts.is_listened_to(&origin("x"), at(every)));
        // Wrong passwords of the user's own are none of theirs.
        fail(&mut attempts, home, 0);
        assert!(attempts.is_listened_to(&origin("x"), at(every)));
    }

    #[test]
    fn no_more_places_are_remembered_than_there_may_be() {
        let mut attempts = Attempts::default();
        for number in 0..100 {
            attempts.came_from(origin(number));
            fail(&mut attempts, origin(number), 0);
        }
        assert_eq!(
            (attempts.known.len(), attempts.tried.len()),
            (KNOWN_MAX, TRIED_MAX)
        );
        assert!(attempts.known.contains(&origin(99)));
        assert!(attempts.tried(&origin(99)).is_some());
    }

    #[test]
    fn a_right_password_begins_the_count_anew() {
        let home = origin("home");
        let mut attempts = Attempts::default();
        for _ in 0..3 {
            for _ in 0..LOCK_AFTER - 1 {
                fail(&mut attempts, home.clone(), 0);
            }
            assert!(attempts.is_listened_to(&home, at(0)));
            attempts.came_from(home.clone());
        }
    }
}
