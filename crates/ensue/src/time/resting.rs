//! Sleeping on a clock that a test moves, and knowing who does.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::Hands;

thread_local! {
    /// Whether the poll under way has met a sleep on a clock that is moved by hand.
    static MET_SLEEP: Cell<bool> = const { Cell::new(false) };
}

/// How many of those that are watched wait for a clock to be moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resting(Arc<AtomicUsize>);

impl Resting {
    /// Runs one poll of something that may wait for the clock. If it does, what this returns counts
    /// until it is dropped: before the next poll.
    pub(crate) fn watch<T>(&self, poll: impl FnOnce() -> Poll<T>) -> (Poll<T>, Option<Rest>) {
        MET_SLEEP.set(false);
        let polled = poll();
        let rests = polled.is_pending() && MET_SLEEP.get();
        (polled, rests.then(|| Rest::begin(self.0.clone())))
    }

    /// How many there are.
    #[cfg_attr(
        not(feature = "embedded"),
        allow(dead_code, reason = "only the test kit asks")
    )]
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Somebody waits for a clock to be moved.
#[derive(Debug)]
pub(crate) struct Rest(Arc<AtomicUsize>);

impl Rest {
    fn begin(resting: Arc<AtomicUsize>) -> Self {
        resting.fetch_add(1, Ordering::SeqCst);
        Self(resting)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sleeps until the clock is moved.
pub(super) struct Sleep {
    hands: Weak<Mutex<Hands>>,
    /// `None` when the sleep is over.
    woken: Option<oneshot::Receiver<()>>,
}

impl Sleep {
    pub(super) fn new(hands: Weak<Mutex<Hands>>, woken: oneshot::Receiver<()>) -> Self {
        Self {
            hands,
            woken: Some(woken),
        }
    }

    fn noticed(&mut self) {
        self.woken = None;
        if let Some(hands) = self.hands.upgrade() {
            hands.lock().unwrap_or_else(PoisonError::into_inner).waking -= 1;
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(woken) = &mut self.woken else {
            return Poll::Ready(());
        };
        match Pin::new(woken).poll(cx) {
            Poll::Pending => {
                MET_SLEEP.set(true);
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                self.noticed();
                Poll::Ready(())
            }
            // The whole clock is gone: nobody can advance time any more and sleeping on would be
            // for ever.
            Poll::Ready(Err(_)) => {
                self.woken = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // Nothing is sent after this, and what was sent before counts as noticed.
        if let Some(woken) = &mut self.woken {
            woken.close();
            if woken.try_recv().is_ok() {
                self.noticed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::{Clock, Timestamp, VirtualClock};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_sleeper_is_waking_until_it_notices_or_gives_up() {
        let hands = VirtualClock::new(Timestamp::EPOCH);
        let clock = Clock::from(hands.clone());
        let (one, other) = (clock.sleep(SECOND), clock.sleep(SECOND));
        assert_eq!(hands.waking(), 0);
        hands.advance(SECOND);
        assert_eq!(hands.waking(), 2);
        one.await;
        assert_eq!(hands.waking(), 1);
        drop(other);
        assert_eq!(hands.waking(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_the_clock_rests_until_the_next_poll() {
        let hands = VirtualClock::new(Timestamp::EPOCH);
        let clock = Clock::from(hands.clone());
        let resting = clock.resting().unwrap();
        let mut sleep = clock.sleep(SECOND);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (polled, rest) = resting.watch(|| sleep.as_mut().poll(&mut cx));
        assert!(polled.is_pending() && rest.is_some());
        assert_eq!(resting.count(), 1);
        let other = Clock::from(hands.clone());
        assert_eq!(other.resting().unwrap().count(), 0, "a clock of its own");
        drop(rest);
        assert_eq!(resting.count(), 0);
        hands.advance(SECOND);
        let (polled, rest) = resting.watch(|| sleep.as_mut().poll(&mut cx));
        assert!(polled.is_ready() && rest.is_none());

        let (polled, rest) = resting.watch(|| Poll::<()>::Pending);
        assert!(polled.is_pending() && rest.is_none(), "for something else");
        assert!(Clock::system().resting().is_none());
    }
}
