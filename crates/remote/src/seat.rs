//! What a member and the task that carries it have in common: what came, and what is to be sent.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_core::engine::{Committed, Delivery};
use ensue_core::error::{EngineError, Error, GroupError, Result};
use ensue_proto::v1;
use ensue_proto::v1::join_request::Request;
use tokio::sync::{Notify, oneshot};

/// How many commits are on their way: as many as the server remembers the answers of.
const COMMITS_MAX: u64 = 16;

/// Why a member has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It left, was replaced, or the server does not know it any more.
    Fenced,
    /// The engine was closed.
    Closed,
}

/// A member's place at the server.
#[derive(Debug)]
pub(crate) struct Seat {
    group: String,
    server: String,
    state: Mutex<State>,
    /// Something is to be sent.
    output: Notify,
    /// Something came.
    input: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What came and was not taken.
    queue: VecDeque<Delivery>,
    /// How many events `next` waits for, and how many the server may send.
    wanted: u32,
    asked: u32,
    refused: Option<Error>,
    commits: VecDeque<Waiting>,
    last_commit: u64,
    /// The last batch that came, and the last commit that was answered.
    received: u64,
    answered: u64,
    is_leaving: bool,
    leave_sent: bool,
    end: Option<End>,
}

/// A commit that waits for its answer.
#[derive(Debug)]
struct Waiting {
    number: u64,
    commit: v1::Commit,
    answer: oneshot::Sender<Result<Committed>>,
    is_sent: bool,
    /// It was sent once, over whichever stream.
    was_sent: bool,
}

impl Seat {
    pub(crate) fn new(group: String, server: String) -> Self {
        Self {
            group,
            server,
            state: Mutex::default(),
            output: Notify::new(),
            input: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    fn error(&self, end: End) -> Error {
        match end {
            End::Fenced => Error::Group(GroupError::Fenced {
                group: self.group.clone(),
            }),
            End::Closed => Error::Engine(EngineError::Closed),
        }
    }
}

/// What the member does.
impl Seat {
    /// What came, or that more is wanted.
    pub(crate) fn take(&self, events_max: usize) -> Result<Option<Vec<Delivery>>> {
        let mut state = self.lock();
        if let Some(end) = state.end {
            return Err(self.error(end));
        }
        if state.is_leaving {
            return Err(self.error(End::Fenced));
        }
        if !state.queue.is_empty() {
            let count = events_max.min(state.queue.len());
            return Ok(Some(state.queue.drain(..count).collect()));
        }
        if let Some(error) = state.refused.take() {
            return Err(error);
        }
        state.wanted = u32::try_from(events_max).unwrap_or(u32::MAX);
        drop(state);
        self.output.notify_one();
        Ok(None)
    }

    /// Nothing is waited for any more.
    pub(crate) fn give_up(&self) {
        let had_wanted = std::mem::take(&mut self.lock().wanted) > 0;
        if had_wanted {
            self.output.notify_one();
        }
    }

    /// Completes when something may have come.
    pub(crate) async fn came(&self) {
        self.input.notified().await;
    }

    /// Sends a commit. Events that came and were not taken, of keys that it blocks, go back with it: when
    /// they were taken from the log their key was free.
    pub(crate) fn commit(
        &self,
        mut commit: v1::Commit,
        blocks: impl Fn(&Delivery) -> bool,
    ) -> Result<oneshot::Receiver<Result<Committed>>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if let Some(end) = state.end {
            return Err(self.error(end));
        }
        if state.is_leaving {
            return Err(self.error(End::Fenced));
        }
        state.queue.retain(|delivery| {
            let goes_back = blocks(delivery);
            if goes_back {
                commit.parked.push(delivery.position.get());
            }
            !goes_back
        });
        state.last_commit += 1;
        let number = state.last_commit;
        state.commits.push_back(Waiting {
            number,
            commit,
            answer,
            is_sent: false,
            was_sent: false,
        });
        drop(state);
        self.output.notify_one();
        Ok(answered)
    }

    /// The member leaves.
    pub(crate) fn leave(&self) {
        self.lock().is_leaving = true;
        self.output.notify_one();
    }
}

/// What the task does that carries the member.
impl Seat {
    /// Completes when there may be something to send.
    pub(crate) async fn has_output(&self) {
        self.output.notified().await;
    }

    /// Whether there is something to send.
    pub(crate) fn is_pending(&self) -> bool {
        self.lock().pending().is_some()
    }

    /// What to send next.
    pub(crate) fn next_output(&self) -> Option<Request> {
        let mut state = self.lock();
        match state.pending()? {
            Pending::Commit => {
                let waiting = state.commits.iter_mut().find(|it| !it.is_sent)?;
                waiting.is_sent = true;
                waiting.was_sent = true;
                Some(Request::Commit(v1::CommitEvents {
                    number: waiting.number,
                    commit: Some(waiting.commit.clone()),
                }))
            }
            Pending::Leave => {
                state.leave_sent = true;
                Some(Request::Leave(v1::LeaveGroup {}))
            }
            Pending::Take => {
                state.asked = state.wanted;
                Some(Request::Take(v1::TakeEvents {
                    events_max: state.wanted,
                    once: true,
                    received: state.received,
                }))
            }
            Pending::Stop => {
                state.asked = 0;
                Some(Request::Stop(v1::StopTaking {}))
            }
        }
    }

    /// Goes on over a new stream: what was sent over the one before may not have arrived.
    pub(crate) fn resumed(&self) -> (u64, u64) {
        let mut state = self.lock();
        state.asked = 0;
        state.leave_sent = false;
        for waiting in &mut state.commits {
            waiting.is_sent = false;
        }
        (state.received, state.answered)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().is_leaving
    }

    /// A batch came; one that came before is known by its number.
    pub(crate) fn delivered(&self, batch: u64, deliveries: Vec<Delivery>) {
        let mut state = self.lock();
        if batch <= state.received {
            return;
        }
        state.received = batch;
        state.asked = 0;
        state.wanted = 0;
        state.queue.extend(deliveries);
        drop(state);
        self.input.notify_one();
    }

    /// No events come, and why.
    pub(crate) fn take_refused(&self, error: Error) {
        let mut state = self.lock();
        state.asked = 0;
        state.wanted = 0;
        state.refused = Some(error);
        drop(state);
        self.input.notify_one();
    }

    /// A commit was answered.
    pub(crate) fn answered(&self, number: u64, answer: Result<Committed>) {
        let mut state = self.lock();
        state.answered = state.answered.max(number);
        let waiting = state.commits.iter().position(|it| it.number == number);
        let waiting = waiting.and_then(|at| state.commits.remove(at));
        drop(state);
        // One whose caller waits no more has happened all the same.
        if let Some(waiting) = waiting {
            let _ = waiting.answer.send(answer);
        }
        self.output.notify_one();
    }

    /// The member has ended. Commits that were sent and not answered may have happened.
    pub(crate) fn ended(&self, end: End) {
        let waiting = {
            let mut state = self.lock();
            state.end.get_or_insert(end);
            state.queue.clear();
            std::mem::take(&mut state.commits)
        };
        for waiting in waiting {
            let error = if waiting.was_sent && end == End::Fenced {
                Error::Engine(EngineError::Unavailable {
                    server: self.server.clone(),
                    reason:
                        "it does not know this member any more, and did not say what came of the \
                             commit: it may or may not have happened; the member joins again"
                            .to_owned(),
                })
            } else {
                self.error(end)
            };
            let _ = waiting.answer.send(Err(error));
        }
        self.input.notify_one();
    }
}

enum Pending {
    Commit,
    Leave,
    Take,
    Stop,
}

impl State {
    fn pending(&self) -> Option<Pending> {
        let next = self.commits.iter().find(|it| !it.is_sent);
        if next.is_some_and(|it| it.number - self.answered <= COMMITS_MAX) {
            return Some(Pending::Commit);
        }
        if self.is_leaving && !self.leave_sent && self.commits.is_empty() {
            return Some(Pending::Leave);
        }
        if self.is_leaving {
            return None;
        }
        if self.wanted > 0 && self.asked == 0 {
            return Some(Pending::Take);
        }
        (self.wanted == 0 && self.asked > 0).then_some(Pending::Stop)
    }
}
