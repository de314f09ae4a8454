//! What waiting rests on: one outcome a frame, and one registry of wakers of those that wait for more
//! records or for room.

use std::task::{Poll, Waker};

use crate::codec::lock;
use crate::error::Error;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::thread::{self, Thread};

/// What became of one frame; shared by everyone who has records in it.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    outcome: AtomicU8,
    waiting: Mutex<Waiting>,
}

/// Who waits for one frame.
#[derive(Debug, Default)]
struct Waiting {
    /// Of futures, which may be dropped at any time.
    wakers: Vec<Waker>,
    /// They stay until the frame is done, and can write it.
    threads: Vec<Thread>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pending = 0,
    Durable = 1,
    /// Nothing was written; the log goes on.
    DiskFull = 2,
    /// The write or sync of this frame failed.
    Indeterminate = 3,
    /// An earlier frame failed; this one was never written.
    Poisoned = 4,
}

impl Ticket {
    pub(crate) fn outcome(&self) -> Outcome {
        match self.outcome.load(Ordering::Acquire) {
            0 => Outcome::Pending,
            1 => Outcome::Durable,
            2 => Outcome::DiskFull,
            3 => Outcome::Indeterminate,
            _ => Outcome::Poisoned,
        }
    }

    /// Sets the outcome and wakes the futures, once. The threads are given back: waking them
    /// takes a system call each, and can wait until the next frame is under way.
    pub(crate) fn resolve(&self, outcome: Outcome) -> Vec<Thread> {
        self.outcome.store(outcome as u8, Ordering::Release);
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.wakers.into_iter().for_each(Waker::wake);
        waiting.threads
    }

    /// Puts the calling thread among those to be unparked, unless there is an outcome.
    pub(crate) fn enlist(&self) -> Outcome {
        let mut waiting = lock(&self.waiting);
        // Under the lock: `resolve` sets the outcome before it takes the threads.
        let now = self.outcome();
        if now == Outcome::Pending {
            waiting.threads.push(thread::current());
        }
        now
    }

    /// A thread that stays until the frame is done.
    pub(crate) fn thread(&self) -> Option<Thread> {
        lock(&self.waiting).threads.first().cloned()
    }

    /// The outcome, or registers the waker; `slot` is where an earlier call put it.
    pub(crate) fn poll(&self, slot: &mut Option<usize>, waker: &Waker) -> Outcome {
        let now = self.outcome();
        if now != Outcome::Pending {
            return now;
        }
        let wakers = &mut lock(&self.waiting).wakers;
        // Again under the lock: `resolve` sets the outcome before it takes the wakers.
        let now = self.outcome();
        if now == Outcome::Pending {
            match slot.and_then(|slot| wakers.get_mut(slot)) {
                Some(known) => known.clone_from(waker),
                None => {
                    *slot = Some(wakers.len());
                    wakers.push(waker.clone());
                }
            }
        }
        now
    }
}

/// Those who wait for the log to change, by number. A future that is dropped takes its entry with
/// it, so that the registry never holds more than there are futures.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    entries: Vec<(u64, Waker)>,
    numbers: u64,
}

impl Wakers {
    pub(crate) fn take(&mut self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.entries)
    }

    pub(crate) fn register(&mut self, number: &mut Option<u64>, waker: &Waker) {
        let known = number.and_then(|number| self.find(number));
        if let Some((_, known)) = known.and_then(|index| self.entries.get_mut(index)) {
            known.clone_from(waker);
            return;
        }
        self.numbers += 1;
        *number = Some(self.numbers);
        self.entries.push((self.numbers, waker.clone()));
    }

    pub(crate) fn forget(&mut self, number: u64) {
        if let Some(index) = self.find(number) {
            self.entries.remove(index);
        }
    }

    /// Numbers are given in ascending order, and so are the entries.
    fn find(&self, number: u64) -> Option<usize> {
        self.entries
            .binary_search_by_key(&number, |(known, _)| *known)
            .ok()
    }
}

/// What `ready` gives, or registers the waker; `number` is where an earlier call put it.
pub(crate) fn poll_until<T>(
    wakers: &Mutex<Wakers>,
    number: &mut Option<u64>,
    waker: &Waker,
    ready: impl Fn() -> Option<T>,
) -> Poll<T> {
    if let Some(ready) = ready() {
        return Poll::Ready(ready);
    }
    lock(wakers).register(number, waker);
    // Again: a commit between the first look and the registration did not wake this one.
    ready().map_or(Poll::Pending, Poll::Ready)
}

/// The error of a frame that did not become durable.
pub(crate) fn failure(outcome: Outcome, reason: String, bytes: u64) -> Error {
    match outcome {
        Outcome::DiskFull => Error::DiskFull { bytes },
        Outcome::Indeterminate => Error::Indeterminate { reason },
        _ => Error::Poisoned { reason },
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use loom::future::block_on;

    use super::*;
    use crate::sync::atomic::AtomicU64;
    use crate::sync::thread;

    /// Tries every order of the threads in which each is interrupted at most this often.
    fn explore(interruptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(interruptions_max);
        model.check(run);
    }

    async fn answer(ticket: &Ticket) -> Outcome {
        let mut slot = None;
        poll_fn(|context| match ticket.poll(&mut slot, context.waker()) {
            Outcome::Pending => Poll::Pending,
            outcome => Poll::Ready(outcome),
        })
        .await
    }

    #[test]
    fn loom_a_ticket_wakes_everyone() {
        explore(2, || {
            let ticket = Arc::new(Ticket::default());
            let waiting = [0, 1].map(|_| {
                let ticket = Arc::clone(&ticket);
                thread::spawn(move || block_on(answer(&ticket)))
            });
            ticket.resolve(Outcome::Durable);
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), Outcome::Durable);
            }
            let left = lock(&ticket.waiting);
            assert!(left.wakers.is_empty(), "a waker was left behind");
        });
    }

    /// The durable position and those who wait for it, without a disk.
    #[derive(Default)]
    struct Durable {
        position: AtomicU64,
        wakers: Mutex<Wakers>,
    }

    impl Durable {
        /// As a commit does: publish, then wake.
        fn publish(&self, position: u64) {
            self.position.store(position, Ordering::Release);
            let wakers = lock(&self.wakers).take();
            wakers.into_iter().for_each(|(_, waker)| waker.wake());
        }

        async fn past(&self, past: u64) -> u64 {
            let mut number = None;
            let position = poll_fn(|context| {
                poll_until(&self.wakers, &mut number, context.waker(), || {
                    let position = self.position.load(Ordering::Acquire);
                    (position > past).then_some(position)
                })
            })
            .await;
            // As `Changed` does when it is dropped.
            if let Some(number) = number {
                lock(&self.wakers).forget(number);
            }
            position
        }
    }

    fn followed(followers: &'static [u64]) {
        explore(4 - followers.len(), move || {
            let durable = Arc::new(Durable::default());
            let waiting: Vec<_> = followers
                .iter()
                .map(|past| {
                    let durable = Arc::clone(&durable);
                    thread::spawn(move || block_on(durable.past(*past)))
                })
                .collect();
            durable.publish(1);
            durable.publish(2);
            for (waiting, past) in waiting.into_iter().zip(followers) {
                assert!(waiting.join().unwrap() > *past);
            }
            let left = lock(&durable.wakers).take();
            assert!(left.is_empty(), "a waker was left behind");
        });
    }

    #[test]
    fn loom_a_follower_sees_every_position() {
        followed(&[1]);
    }

    #[test]
    fn loom_followers_do_not_disturb_each_other() {
        followed(&[0, 1]);
    }

    #[test]
    fn loom_a_waiter_that_gives_up_takes_its_waker_with_it() {
        explore(2, || {
            let durable = Arc::new(Durable::default());
            let giving_up = {
                let durable = Arc::clone(&durable);
                thread::spawn(move || {
                    let mut number = None;
                    lock(&durable.wakers).register(&mut number, Waker::noop());
                    lock(&durable.wakers).forget(number.unwrap());
                })
            };
            let waiting = {
                let durable = Arc::clone(&durable);
                thread::spawn(move || block_on(durable.past(0)))
            };
            durable.publish(1);
            giving_up.join().unwrap();
            assert_eq!(waiting.join().unwrap(), 1);
            assert!(lock(&durable.wakers).take().is_empty());
        });
    }
}
