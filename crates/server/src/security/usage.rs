//! What one caller uses of the server, whatever token or connection they come with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rate::Rate;
use crate::config::Limits;
use crate::memory::Share;
use crate::problem::{Code, Problem};

/// One caller may have one in so many of the bytes that all answers may have, and one answer at least.
const ANSWERS_SHARE: usize = 4;
/// And one in so many of the requests that may wait, and one at least.
const WAITS_SHARE: usize = 4;

/// What one caller uses.
#[derive(Debug)]
pub(super) struct Usage {
    requests: Rate,
    requests_max: u32,
    streams: Arc<Semaphore>,
    streams_max: usize,
    waits: Arc<Semaphore>,
    waits_max: usize,
    answers: Share,
}

/// What all callers use that are known, by their names: it outlives a change of the files.
/// Cloning gives the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Usages(Arc<Mutex<HashMap<String, Weak<Usage>>>>);

/// How much of all answers under way may be one caller's.
pub(crate) fn answers(limits: &Limits) -> Share {
    Share::new((limits.answers_bytes_max / ANSWERS_SHARE).max(limits.answer_bytes_max))
}

impl Usage {
    fn new(limits: &Limits) -> Self {
        let waits_max = (limits.waits_max / WAITS_SHARE).max(1);
        Self {
            requests: Rate::per_second(limits.caller_requests_per_second),
            requests_max: limits.caller_requests_per_second,
            streams: Arc::new(Semaphore::new(limits.caller_streams_max)),
            streams_max: limits.caller_streams_max,
            waits: Arc::new(Semaphore::new(waits_max)),
            waits_max,
            answers: answers(limits),
        }
    }

    /// Counts a request, or refuses it.
    pub(super) fn request(&self) -> Result<(), Problem> {
        if self.requests.admits() {
            return Ok(());
        }
        let detail = format!(
            "the caller sends more than {} requests a second, the limit `caller_requests_per_second`; send \
             fewer, with more events each",
            self.requests_max
        );
        Err(Problem::new(Code::RateLimited, detail))
    }

    /// How much of all answers under way may be the caller's.
    pub(super) fn answers(&self) -> &Share {
        &self.answers
    }

    /// A place among the caller's streams.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            let detail = format!(
                "the caller has {} streams, the limit `caller_streams_max`; close one, or read in pages",
                self.streams_max
            );
            Problem::new(Code::RateLimited, detail)
        })
    }

    /// A place among the caller's requests that wait.
    pub(super) fn waiting(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.waits.clone().try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{} requests of the caller wait for groups, a quarter of the limit `waits_max`; ask again in a moment, \
                 or with `timeout=0s`",
                self.waits_max
            );
            Problem::new(Code::RateLimited, detail)
        })
    }
}

impl Usages {
    /// What the caller of this name uses.
    pub(super) fn of(&self, name: &str, limits: &Limits) -> Arc<Usage> {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = usages.get(name).and_then(Weak::upgrade) {
            return usage;
        }
        if usages.len() == usages.capacity() {
            // Before it grows: an issuer may name callers without end.
            usages.retain(|_, usage| usage.strong_count() > 0);
        }
        let usage = Arc::new(Usage::new(limits));
        usages.insert(name.to_owned(), Arc::downgrade(&usage));
        usage
    }

    /// Forgets callers that are not known any more.
    pub(super) fn tidy(&self) {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usages.retain(|_, usage| usage.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_are_gone_take_no_memory_and_others_keep_what_they_use() {
        let (usages, limits) = (Usages::default(), Limits::default());
        let kept = usages.of("kept", &limits);
        for number in 0..10_000 {
            usages.of(&number.to_string(), &limits);
        }
        assert!(Arc::ptr_eq(&kept, &usages.of("kept", &limits)));
        assert!(usages.0.lock().unwrap().len() < 100);
    }
}
