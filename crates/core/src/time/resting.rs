//! Sleeping on a clock that a test moves, and knowing who does.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::oneshot;

use super::Hands;

thread_local! {
    /// Whether the poll under way has met a sleep on a clock that is moved by hand.
    static MET_SLEEP: Cell<bool> = const { Cell::new(false) };
}

/// How many events in members' hands wait, and for what. What waits for itself to be polled, because
/// it was woken, does not count: so a test knows what will move without the clock, however slow the
/// machine is.
#[derive(Clone, Debug, Default)]
#[doc(hidden)]
pub struct Resting(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    inside: AtomicUsize,
    outside: AtomicUsize,
    refused: AtomicUsize,
    commits: AtomicUsize,
}

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum WaitsFor {
    /// A clock that a test moves.
    Clock,
    /// An event before it.
    Turn,
    /// Anything else, which may never come.
    Outside,
    /// A clock that a test moves, because the engine refused something. It counts once, however many
    /// events are concerned.
    Refused,
    /// Nothing: a commit is under way. It counts once.
    Commit,
}

/// How many wait for what, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct RestingNow {
    /// Events that wait for the clock, or behind others.
    pub inside: usize,
    pub outside: usize,
    pub refused: usize,
    pub commits: usize,
}

impl RestingNow {
    #[doc(hidden)]
    pub fn events(self) -> usize {
        self.inside + self.outside
    }
}

impl Resting {
    /// Counts `events` until what this returns is dropped.
    #[doc(hidden)]
    pub fn rest(&self, waits_for: WaitsFor, events: usize) -> Rest {
        let rest = Rest {
            counts: self.0.clone(),
            waits_for,
            events,
        };
        rest.count().fetch_add(events, Ordering::SeqCst);
        rest
    }

    /// How many there are.
    #[doc(hidden)]
    pub fn now(&self) -> RestingNow {
        let Counts {
            inside,
            outside,
            refused,
            commits,
        } = &*self.0;
        RestingNow {
            inside: inside.load(Ordering::SeqCst),
            outside: outside.load(Ordering::SeqCst),
            refused: refused.load(Ordering::SeqCst),
            commits: commits.load(Ordering::SeqCst),
        }
    }
}

/// Something waits.
#[derive(Debug)]
#[doc(hidden)]
pub struct Rest {
    counts: Arc<Counts>,
    waits_for: WaitsFor,
    events: usize,
}

impl Rest {
    fn count(&self) -> &AtomicUsize {
        match self.waits_for {
            WaitsFor::Clock | WaitsFor::Turn => &self.counts.inside,
            WaitsFor::Outside => &self.counts.outside,
            WaitsFor::Refused => &self.counts.refused,
            WaitsFor::Commit => &self.counts.commits,
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.count().fetch_sub(self.events, Ordering::SeqCst);
    }
}

/// Follows what is done about one event: it counts as resting from a poll that leaves it pending
/// until it is woken or given up.
#[derive(Debug)]
#[doc(hidden)]
pub struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    resting: Resting,
    state: Mutex<WatchState>,
}

#[derive(Debug, Default)]
struct WatchState {
    /// Who polls.
    waker: Option<Waker>,
    /// Since the last poll began.
    is_woken: bool,
    rest: Option<Rest>,
}

impl Watch {
    #[doc(hidden)]
    pub fn new(resting: &Resting) -> Self {
        Self(Arc::new(Watched {
            resting: resting.clone(),
            state: Mutex::default(),
        }))
    }

    /// Runs one poll. What it leaves pending waits for the clock if the poll has met a sleep on one
    /// that a test moves, and else for what it says.
    #[doc(hidden)]
    pub fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> (Poll<T>, WaitsFor),
    ) -> Poll<T> {
        *self.0.state() = WatchState {
            waker: Some(cx.waker().clone()),
            ..WatchState::default()
        };
        MET_SLEEP.set(false);
        let waker = Waker::from(self.0.clone());
        let (polled, or_else) = poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            let waits_for = if MET_SLEEP.get() {
                WaitsFor::Clock
            } else {
                or_else
            };
            let mut state = self.0.state();
            if !state.is_woken {
                state.rest = Some(self.0.resting.rest(waits_for, 1));
            }
        }
        polled
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A waker that outlives the watch wakes nothing.
        *self.0.state() = WatchState::default();
    }
}

impl Watched {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waker = {
            let mut state = self.state();
            (state.is_woken, state.rest) = (true, None);
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Runs a poll whose sleeps say nothing about what a watched one waits for.
#[doc(hidden)]
pub fn unwatched<T>(poll: impl FnOnce() -> T) -> T {
    let met = MET_SLEEP.get();
    let polled = poll();
    MET_SLEEP.set(met);
    polled
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
            // The whole clock is gone: nothing can advance time any more and sleeping on would be
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

    fn resting(inside: usize, outside: usize) -> RestingNow {
        RestingNow {
            inside,
            outside,
            refused: 0,
            commits: 0,
        }
    }

    #[tokio::test]
    async fn what_waits_for_the_clock_rests_until_it_is_moved() {
        let hands = VirtualClock::new(Timestamp::EPOCH);
        let clock = Clock::from(hands.clone());
        let counts = clock.resting().unwrap();
        let watch = Watch::new(counts);
        let mut sleep = clock.sleep(SECOND);
        let cx = Context::from_waker(Waker::noop());
        let mut poll = || watch.poll(&cx, |cx| (sleep.as_mut().poll(cx), WaitsFor::Turn));
        assert!(poll().is_pending());
        assert_eq!(counts.now(), resting(1, 0));
        let other = Clock::from(hands.clone());
        assert_eq!(other.resting().unwrap().now(), resting(0, 0), "its own");
        hands.advance(SECOND);
        assert_eq!(counts.now(), resting(0, 0), "before the next poll");
        assert!(poll().is_ready());
        assert_eq!(counts.now(), resting(0, 0));
        assert!(Clock::system().resting().is_none());
    }

    #[test]
    fn what_waits_for_something_else_rests_until_it_is_woken_or_dropped() {
        let counts = Resting::default();
        let cx = Context::from_waker(Waker::noop());
        let watch = Watch::new(&counts);
        let mut waker = None;
        let pending = |cx: &mut Context<'_>| {
            waker = Some(cx.waker().clone());
            (Poll::<()>::Pending, WaitsFor::Outside)
        };
        assert!(watch.poll(&cx, pending).is_pending());
        assert_eq!(counts.now(), resting(0, 1));
        waker.unwrap().wake();
        assert_eq!(counts.now(), resting(0, 0));

        let wakes_itself = |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            (Poll::<()>::Pending, WaitsFor::Outside)
        };
        assert!(watch.poll(&cx, wakes_itself).is_pending());
        assert_eq!(counts.now(), resting(0, 0), "it is to be polled again");

        let polled = watch.poll(&cx, |_| (Poll::<()>::Pending, WaitsFor::Turn));
        assert!(polled.is_pending());
        assert_eq!(counts.now(), resting(1, 0));
        drop(watch);
        assert_eq!(counts.now(), resting(0, 0));
    }

    #[tokio::test]
    async fn a_sleep_beside_what_is_watched_does_not_count() {
        let hands = VirtualClock::new(Timestamp::EPOCH);
        let clock = Clock::from(hands);
        let watch = Watch::new(clock.resting().unwrap());
        let mut timeout = clock.sleep(SECOND);
        let cx = Context::from_waker(Waker::noop());
        let poll = |cx: &mut Context<'_>| {
            let polled = unwatched(|| timeout.as_mut().poll(cx));
            (polled, WaitsFor::Outside)
        };
        assert!(watch.poll(&cx, poll).is_pending());
        assert_eq!(clock.resting().unwrap().now(), resting(0, 1));
    }
}
