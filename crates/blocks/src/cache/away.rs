//! A store that is away is said once, and asked by one caller a second until it answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ensue_core::error::{EngineError, Error};
use ensue_core::time::{Clock, Timestamp};

/// How long those who look something up leave a store alone that did not answer.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Away {
    since: Mutex<Option<Since>>,
    /// The same in short, for those who look something up: they wait for no one. It is written under the lock.
    is_away: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    began: Timestamp,
    asked: Timestamp,
}

impl Away {
    /// Whether the store may be asked now. While it is away, one caller a second may.
    pub(super) fn may_ask(&self, clock: &Clock) -> bool {
        if !self.is_away() {
            return true;
        }
        let mut away = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = away.as_mut() else {
            return true;
        };
        let now = clock.now();
        // Also when the wall clock was set back.
        let is_due = now.since(since.asked) >= RETRY || now < since.asked;
        if is_due {
            since.asked = now;
        }
        is_due
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Takes note of an answer.
    pub(super) fn answered<T>(&self, answer: &Result<T, Error>, clock: &Clock) {
        if answer.is_ok() && !self.is_away() {
            return;
        }
        let now = clock.now();
        let mut away = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(_) => {
                self.is_away.store(false, Ordering::Release);
                if let Some(since) = away.take() {
                    let seconds = now.since(since.began).as_secs();
                    tracing::info!(seconds, "the store of a cache answers again");
                }
            }
            Err(error @ Error::Engine(EngineError::Unavailable { .. })) => {
                self.is_away.store(true, Ordering::Release);
                let began = away.map_or(now, |since| since.began);
                if away.replace(Since { began, asked: now }).is_none() {
                    tracing::warn!(%error, "the store of a cache is away: values are loaded without it");
                }
            }
            // What one entry is refused for says nothing of the others.
            Err(error) => tracing::debug!(%error, "the store of a cache refuses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_core::time::VirtualClock;

    use super::*;

    #[test]
    fn one_caller_a_second_asks_a_store_that_is_away() {
        let hands = VirtualClock::new(Timestamp::EPOCH);
        let clock = Clock::from(hands.clone());
        let away = Away::default();
        let gone: Result<(), Error> = Err(EngineError::Unavailable {
            server: "redis://cache".to_owned(),
            reason: "it does not answer".to_owned(),
        }
        .into());
        assert!(away.may_ask(&clock));
        away.answered(&gone, &clock);
        assert!(away.is_away() && !away.may_ask(&clock));
        hands.advance(RETRY);
        assert!(away.may_ask(&clock), "the first");
        assert!(!away.may_ask(&clock), "and no other");
        away.answered(&Ok(()), &clock);
        assert!(!away.is_away() && away.may_ask(&clock));
    }
}
