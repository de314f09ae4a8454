//! A member of a group that a client has: it outlives the stream that carries it.
//!
//! A connection that is cut costs nothing: the client comes back within its lease, is told the answers that
//! it missed and given the events that it did not get. What one stream began another goes on with.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ensue::consumer::Suspects;
use ensue::engine::{Commit, Delivery, Member, Retry};
use ensue::{Clock, Position};
use ensue_proto::v1;
use ensue_proto::v1::commit_answer::Outcome;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::answer::{no_room, problem_detail};
use super::claim::{self, InHand};
use super::lists::pieces;
use super::permit::{self, Slots};
use crate::context::Context;
use crate::leases::Place;
use crate::memory::Held;
use crate::security::{Action, Caller};

/// How many commits a member may have under way, and how many answers are kept for a client that was cut
/// off: it cannot have missed more.
const COMMITS_MAX: usize = 16;
const ANSWERS_MAX: usize = 2 * COMMITS_MAX;
/// How much of events goes into one message, in bytes; an event more may come.
const BATCH_BYTES: usize = 256 * 1024;

/// A member, and what its client may not know yet.
#[derive(Debug)]
pub(super) struct Session {
    seat: Seat,
    state: Mutex<State>,
    /// Counts up with every answer and every stream.
    changed: watch::Sender<u64>,
    commits: mpsc::Sender<Claimed>,
    /// Who takes events: one stream at a time.
    turn: tokio::sync::Mutex<()>,
    suspects: Suspects,
    clock: Clock,
    caller: Mutex<Caller>,
    _slots: Slots,
}

/// Whose member of which group it is.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) group: String,
    /// How long it outlives its stream.
    pub(super) lease: Duration,
    pub(super) topics: Vec<String>,
    pub(super) member: Box<dyn Member>,
    /// Its place among the members that clients are.
    pub(super) place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last stream, and whether it is there.
    stream: u64,
    is_attached: bool,
    /// What was taken and not handed out yet.
    taken: VecDeque<Delivery>,
    /// What the client has, or will have.
    in_hand: InHand,
    /// Of both.
    bytes: usize,
    /// What was sent, by the number of its batch, and may not have arrived: of what is in hand.
    sent: VecDeque<(u64, Vec<Position>)>,
    batches: u64,
    /// How many commits were taken.
    commits: u64,
    answers: VecDeque<v1::CommitAnswer>,
}

/// A commit that waits for its turn.
#[derive(Debug)]
struct Claimed {
    number: u64,
    commit: v1::Commit,
    /// `None`: there was no room for it.
    held: Option<Held>,
}

/// Why a commit is not taken.
pub(super) enum Refused {
    /// Its number is not the next.
    OutOfTurn { expected: u64 },
    /// The member has ended.
    Ended,
}

impl State {
    /// These events are committed: the client had them, whether it said so or not. Gives how many bytes they
    /// had.
    fn done(&mut self, positions: &[Position]) -> usize {
        let done = positions.iter().filter_map(|it| self.in_hand.remove(it));
        let gone = done.map(|it| size(&it)).sum();
        let in_hand = &self.in_hand;
        self.sent.retain_mut(|(_, sent)| {
            sent.retain(|position| in_hand.contains_key(position));
            !sent.is_empty()
        });
        gone
    }

    /// Whether every commit has its answer.
    fn is_answered(&self) -> bool {
        self.answers.back().map_or(0, |it| it.number) == self.commits
    }
}

impl Session {
    pub(super) fn start(
        seat: Seat,
        (caller, slots): (Caller, Slots),
        context: &Context,
    ) -> Arc<Self> {
        let (commits, taken) = mpsc::channel(COMMITS_MAX);
        let session = Arc::new(Self {
            suspects: context.suspects().of(&seat.group),
            clock: context.engine().clock().clone(),
            seat,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            commits,
            turn: tokio::sync::Mutex::default(),
            caller: Mutex::new(caller),
            _slots: slots,
        });
        // One after the other, and to the end, whatever becomes of the stream.
        tokio::spawn(commit_all(Arc::downgrade(&session), taken));
        session
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn group(&self) -> &str {
        &self.seat.group
    }

    /// Whether it is this caller's: a secret that was overheard is of no use to another.
    pub(super) fn is_of(&self, caller: &Caller) -> bool {
        self.caller().name() == caller.name()
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The client, as it is known now: it has to be one that may still consume.
    pub(super) fn renew(&self, caller: &Caller) -> Result<(), Status> {
        permit::must_cover(caller, Action::Consume, &self.seat.topics)?;
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = caller.clone();
        Ok(())
    }

    pub(super) fn lease(&self) -> Duration {
        self.seat.lease
    }

    pub(super) fn member(&self) -> &dyn Member {
        &*self.seat.member
    }

    pub(super) fn turn(&self) -> &tokio::sync::Mutex<()> {
        &self.turn
    }

    /// Tells of answers, and of other streams.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// A stream takes over. Gives its number.
    pub(super) fn attach(&self) -> u64 {
        let stream = {
            let mut state = self.lock();
            state.stream += 1;
            state.is_attached = true;
            state.stream
        };
        self.change();
        stream
    }

    /// Whether this is the last stream.
    pub(super) fn is_carried_by(&self, stream: u64) -> bool {
        self.lock().stream == stream
    }

    /// This stream has ended; whether no other has taken over.
    pub(super) fn detach(&self, stream: u64) -> bool {
        let mut state = self.lock();
        let is_last = state.stream == stream;
        if is_last {
            state.is_attached = false;
        }
        is_last
    }

    /// Whether there was no stream after this one.
    pub(super) fn is_lost_since(&self, stream: u64) -> bool {
        let state = self.lock();
        state.stream == stream && !state.is_attached
    }

    /// Whether the client has nothing to commit, and every commit of it was answered.
    pub(super) fn is_done(&self) -> bool {
        let state = self.lock();
        state.in_hand.is_empty() && state.is_answered()
    }

    /// How many events to take from the group, for a client that takes `credits`.
    pub(super) fn room(&self, credits: usize) -> usize {
        if self.lock().taken.is_empty() {
            credits
        } else {
            0
        }
    }

    /// Events were taken from the group.
    ///
    /// # Errors
    /// Why the client may not have one of them: another has joined the group since, with topics that this one
    /// may not consume; or it cannot be shown without what is personal.
    pub(super) fn took(&self, deliveries: Vec<Delivery>) -> Result<(), Status> {
        let caller = self.caller();
        for delivery in &deliveries {
            permit::must(&caller, Action::Consume, delivery.envelope.topic())?;
            permit::disclose(&caller, &mut delivery.envelope.clone())?;
        }
        let mut state = self.lock();
        state.bytes += deliveries.iter().map(size).sum::<usize>();
        state.taken.extend(deliveries);
        self.count(&state);
        Ok(())
    }

    /// Says what the member holds.
    fn count(&self, state: &State) {
        let events = state.taken.len() + state.in_hand.len();
        self.place().holds(events, state.bytes);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        let place = self.seat.place.lock();
        place.unwrap_or_else(PoisonError::into_inner)
    }

    /// The member leaves: from here on others of its group may ask for less than it did.
    pub(super) async fn leave(&self) -> ensue::Result<()> {
        let left = self.seat.member.leave().await;
        self.place().unsubscribe();
        left
    }

    /// Hands out what was taken, as much as the client takes: in batches, which are kept until it has them.
    /// Says how many events these are.
    pub(super) fn hand_out(&self, credits: usize) -> (Vec<v1::DeliverEvents>, usize) {
        let caller = self.caller();
        let mut state = self.lock();
        let count = {
            let mut gate = self.suspects.gate(state.in_hand.keys().copied());
            let next = state.taken.iter().take(credits);
            next.take_while(|it| gate.lets(it.position)).count()
        };
        let deliveries: Vec<_> = state.taken.drain(..count).collect();
        for delivery in &deliveries {
            let before = state.in_hand.insert(delivery.position, delivery.clone());
            state.bytes -= before.as_ref().map_or(0, size);
        }
        let mut batches = Vec::new();
        for piece in pieces(&deliveries, BATCH_BYTES, size).filter(|piece| !piece.is_empty()) {
            state.batches += 1;
            let number = state.batches;
            batches.push(batch(&caller, number, piece));
            let sent = piece.iter().map(|delivery| delivery.position);
            state.sent.push_back((number, sent.collect()));
        }
        (batches, count)
    }

    /// The member did not come back: it leaves. What it had in its hands may have ended its process: of one
    /// event that was an attempt, several are suspects.
    pub(super) async fn abandon(&self) {
        // What it said before is done first.
        let mut changes = self.changes();
        while !self.lock().is_answered() {
            // It cannot end before: `self` has the other end.
            let _ = changes.changed().await;
        }
        let in_hand: Vec<_> = self.lock().in_hand.keys().copied().collect();
        // Before any of it goes to others.
        if self.suspects.lost(&in_hand)
            && let Err(error) = self.commit_attempts().await
        {
            let group = self.group();
            tracing::warn!(group, %error, "the attempt of a member that is gone does not count");
        }
        if let Err(error) = self.leave().await {
            tracing::debug!(group = self.group(), %error, "a member that is gone could not leave");
        }
    }

    async fn commit_attempts(&self) -> ensue::Result<()> {
        let due = self.clock.now();
        let tried = |delivery: &Delivery| Retry {
            envelope: delivery.envelope.clone(),
            position: delivery.position,
            attempt: delivery.attempt,
            due,
            reason: Suspects::REASON.to_owned(),
        };
        let mut commit = Commit {
            retries: self.lock().in_hand.values().map(tried).collect(),
            ..Commit::default()
        };
        commit.parked = self.behind(&commit);
        self.seat.member.commit(commit).await.map(drop)
    }

    /// The client has everything up to this batch.
    pub(super) fn received(&self, batch: u64) {
        let mut state = self.lock();
        while state
            .sent
            .pop_front_if(|(number, _)| *number <= batch)
            .is_some()
        {}
    }

    /// What was sent and did not arrive.
    pub(super) fn missed(&self) -> Vec<v1::DeliverEvents> {
        let caller = self.caller();
        let state = self.lock();
        let sent = state.sent.iter().map(|(number, positions)| {
            let deliveries = positions.iter().filter_map(|it| state.in_hand.get(it));
            batch(&caller, *number, deliveries)
        });
        sent.collect()
    }

    /// Takes a commit; one that was taken before is known by its number.
    pub(super) async fn commit(
        &self,
        context: &Context,
        number: u64,
        commit: v1::Commit,
    ) -> Result<(), Refused> {
        {
            let mut state = self.lock();
            if number <= state.commits && number > 0 {
                return Ok(());
            }
            let expected = state.commits + 1;
            if number != expected {
                return Err(Refused::OutOfTurn { expected });
            }
            state.commits = number;
        }
        let mut held = Held::default();
        let bytes = prost::Message::encoded_len(&commit);
        let held = context.bodies().hold(&mut held, bytes).then_some(held);
        let claimed = Claimed {
            number,
            commit,
            held,
        };
        self.commits.send(claimed).await.map_err(|_| Refused::Ended)
    }

    /// The answers to commits after this one.
    pub(super) fn answers_after(&self, number: u64) -> Vec<v1::CommitAnswer> {
        let state = self.lock();
        let answers = state.answers.iter();
        answers.filter(|it| it.number > number).cloned().collect()
    }

    async fn answer(&self, claimed: Claimed) {
        let outcome = match claimed.held {
            Some(_) => self.claim(claimed.commit).await,
            None => Outcome::Refused(problem_detail(&no_room())),
        };
        {
            let mut state = self.lock();
            if state.answers.len() == ANSWERS_MAX {
                state.answers.pop_front();
            }
            state.answers.push_back(v1::CommitAnswer {
                number: claimed.number,
                outcome: Some(outcome),
            });
        }
        self.change();
    }

    async fn claim(&self, commit: v1::Commit) -> Outcome {
        let claimed = claim::commit(
            &self.seat.group,
            &self.caller(),
            &self.lock().in_hand,
            commit,
        );
        let mut claimed = match claimed {
            Ok(claimed) => claimed,
            Err(refused) => return Outcome::Refused(*refused),
        };
        let behind = self.behind(&claimed);
        let handled: Vec<_> = claim::handled(&claimed).collect();
        claimed.parked.extend(behind.iter().cloned());
        let done: Vec<_> = claim::positions(&claimed).collect();
        match self.seat.member.commit(claimed).await {
            Ok(committed) => {
                self.suspects.clear(&handled);
                let mut state = self.lock();
                let gone = state.done(&done);
                state.bytes -= gone + behind.iter().map(size).sum::<usize>();
                self.count(&state);
                Outcome::Committed(v1::Committed {
                    generation: committed.generation,
                    dropped: committed.dropped as u64,
                })
            }
            Err(error) => {
                let mut state = self.lock();
                for delivery in behind.into_iter().rev() {
                    state.taken.push_front(delivery);
                }
                Outcome::Refused(ensue_proto::detail_of(&error))
            }
        }
    }

    /// Takes out what was not handed out of the keys that a commit blocks: it goes back with it.
    fn behind(&self, commit: &Commit) -> Vec<Delivery> {
        let mut state = self.lock();
        let taken = std::mem::take(&mut state.taken);
        let (behind, rest): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|it| claim::blocks(commit, it));
        state.taken = rest.into();
        behind
    }
}

fn size(delivery: &Delivery) -> usize {
    delivery.envelope.content().len()
}

/// Deliveries as the client may see them.
fn batch<'a>(
    caller: &Caller,
    batch: u64,
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) -> v1::DeliverEvents {
    let shown = |delivery: &Delivery| {
        let mut delivery = delivery.clone();
        match caller.disclose(&mut delivery.envelope) {
            Ok(()) => Some(v1::Delivery::from(&delivery)),
            Err(problem) => {
                let reason = problem.detail();
                tracing::error!(reason, "an event is kept from a member");
                None
            }
        }
    };
    v1::DeliverEvents {
        batch,
        deliveries: deliveries.into_iter().filter_map(shown).collect(),
    }
}

async fn commit_all(session: Weak<Session>, mut taken: mpsc::Receiver<Claimed>) {
    while let Some(claimed) = taken.recv().await {
        let Some(session) = session.upgrade() else {
            return;
        };
        session.answer(claimed).await;
    }
}

#[cfg(test)]
mod tests {
    use ensue::Envelope;
    use ensue::engine::Run;

    use super::*;

    fn delivery(position: u64) -> Delivery {
        Delivery {
            envelope: Envelope::builder("orders", "t").build().unwrap(),
            position: Position::new(position),
            attempt: 1,
            generation: 0,
            run: Run::default(),
        }
    }

    #[test]
    fn what_is_committed_is_not_kept_for_a_client_that_never_says_what_it_has() {
        let mut state = State::default();
        let positions = |range: std::ops::Range<u64>| range.map(Position::new).collect::<Vec<_>>();
        for batch in 0..100 {
            let sent = positions(batch * 3..batch * 3 + 3);
            for position in &sent {
                state.in_hand.insert(*position, delivery(position.get()));
            }
            state.sent.push_back((batch, sent));
        }
        // All but two of the last batch.
        state.done(&positions(0..298));
        assert_eq!(Vec::from(state.sent), [(99, positions(298..300))]);
        assert_eq!(state.in_hand.len(), 2);
    }
}
