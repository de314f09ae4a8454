//! Whether a connection of many requests is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many requests of a connection are under way, and since when there are none.
#[derive(Clone, Debug)]
pub(crate) struct Busy(Arc<Mutex<Use>>);

#[derive(Debug)]
struct Use {
    requests: usize,
    since: Instant,
}

/// A request that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Busy);

impl Busy {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Use {
            requests: 0,
            since: Instant::now(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(&self) -> UnderWay {
        self.lock().requests += 1;
        UnderWay(self.clone())
    }

    /// Completes when there was no request for so long.
    pub(crate) async fn idle(&self, timeout: Duration) {
        loop {
            let until = {
                let state = self.lock();
                let began = if state.requests == 0 {
                    state.since
                } else {
                    Instant::now()
                };
                began + timeout
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests = state.requests.saturating_sub(1);
        state.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_when_nothing_was_under_way_for_the_whole_time() {
        let busy = Busy::new();
        let began = Instant::now();
        let request = busy.request();
        let ends = async {
            tokio::time::sleep(3 * TIMEOUT).await;
            drop(request);
        };
        tokio::join!(busy.idle(TIMEOUT), ends);
        assert_eq!(began.elapsed().as_secs(), 4 * TIMEOUT.as_secs());
        busy.idle(TIMEOUT).await;
        assert_eq!(began.elapsed().as_secs(), 4 * TIMEOUT.as_secs());
    }
}
