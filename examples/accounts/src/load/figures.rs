//! What is counted while users live.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// What was counted so far.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// In microseconds.
    took: Vec<u32>,
    retries: u64,
}

/// What came of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Loaded {
    /// How many users lived.
    pub users: u64,
    /// How many of them registered twice at the same time, with two passwords.
    pub raced: u64,
    /// How many requests were answered.
    pub requests: u64,
    /// How many were sent again, because there was no answer or not yet.
    pub retries: u64,
    /// How long a request took: half of them at the most so long.
    pub p50_ms: f64,
    /// 99 of a hundred at the most so long.
    pub p99_ms: f64,
    /// How long all of it took.
    pub seconds: f64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// What users were told and is not there afterwards.
    pub lost: Vec<String>,
}

impl Figures {
    pub(super) fn answered(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.counted(|it| it.took.push(took));
    }

    pub(super) fn retried(&self) {
        self.counted(|it| it.retries += 1);
    }

    fn counted<T>(&self, count: impl FnOnce(&mut Counted) -> T) -> T {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn loaded(
        &self,
        users: u32,
        raced: u64,
        lost: Vec<String>,
        took: Duration,
    ) -> Loaded {
        let (mut times, retries) = self.counted(|it| (it.took.clone(), it.retries));
        times.sort_unstable();
        let at = |share: f64| {
            let place = (times.len() as f64 * share) as usize;
            let time = times.get(place.min(times.len().saturating_sub(1)));
            f64::from(time.copied().unwrap_or_default()) / 1_000.0
        };
        let seconds = took.as_secs_f64();
        Loaded {
            users: u64::from(users),
            raced,
            requests: times.len() as u64,
            retries,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            seconds,
            requests_per_second: times.len() as f64 / seconds,
            lost,
        }
    }
}
