//! Threads that wait. There is no thread that all writing goes through: the thread that waits for a
//! frame writes it, unless another one is writing. The writer thread does it for futures.

use crate::codec::lock;
use crate::queue::State;
use crate::shared::Shared;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::sync::thread;
use crate::wait::{Outcome, Ticket};

/// How often the writer thread looks for more work before it sleeps.
const LOOKS_MAX: u32 = 32;

impl Shared {
    /// Blocks until `check`, which runs under the state's lock and must not take it, has a value.
    /// Commits on this thread whenever something waits and no other commits: a waiter is never
    /// further from the disk than its own system call.
    pub(crate) fn block_until<T>(&self, mut check: impl FnMut() -> Option<T>) -> T {
        let mut state = lock(&self.state);
        loop {
            if let Some(value) = check() {
                // A finished commit told the threads that block, so that one of them writes the
                // next frame. The last to leave without doing so tells the writer: who polls for
                // that frame has no thread here.
                if state.blocked == 0 && state.writer_idle && state.can_commit() {
                    self.work.notify_one();
                }
                return value;
            }
            if state.can_commit() {
                state = self.commit(state);
            } else {
                state = self.wait_done(state);
            }
        }
    }

    /// Blocks until the frame of `ticket` has an outcome, and commits on this thread whenever
    /// no other does. The thread that finishes a commit unparks those in it, and one of the next
    /// frame, which goes on: no thread is woken in vain.
    pub(crate) fn wait_for<'a>(
        &'a self,
        ticket: &Ticket,
        mut state: MutexGuard<'a, State>,
    ) -> Outcome {
        let mut is_enlisted = false;
        while ticket.outcome() == Outcome::Pending {
            if state.can_commit() {
                // Then look again rather than park: the thread that handed over to this one counts on
                // it as long as its own frame waits.
                state = self.commit(state);
                continue;
            }
            // Under the state's lock, under which the commit that is under way will look for its
            // successor.
            if !is_enlisted {
                ticket.enlist();
                is_enlisted = true;
            }
            drop(state);
            if ticket.outcome() == Outcome::Pending {
                thread::park();
            }
            // The lock is only for those who go on.
            if ticket.outcome() != Outcome::Pending {
                break;
            }
            state = lock(&self.state);
        }
        ticket.outcome()
    }

    fn wait_done<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.blocked += 1;
        let mut state = self
            .done
            .wait(state)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.blocked -= 1;
        state
    }

    /// Writes everything submitted.
    pub(crate) fn drain(&self) {
        self.block_until(|| self.is_queue_empty().then_some(()));
    }

    /// The writer thread: commits for those who do not block.
    pub(crate) fn write_loop(&self) {
        let mut state = lock(&self.state);
        let mut looks = LOOKS_MAX;
        loop {
            if state.can_commit() {
                looks = 0;
                state = self.commit(state);
            } else if self.stopping.load(Ordering::Acquire) {
                return;
            } else if looks < LOOKS_MAX {
                // On a fast disk the next submit is often only just behind: looking again for
                // some microseconds costs less than a sleep and a wake-up for each.
                looks += 1;
                drop(state);
                thread::yield_now();
                state = lock(&self.state);
            } else {
                looks = 0;
                state.writer_idle = true;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                state.writer_idle = false;
            }
        }
    }

    /// Wakes everyone who waits for the log to change.
    pub(crate) fn wake_everyone(&self) {
        self.done.notify_all();
        let wakers = lock(&self.wakers).take();
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
