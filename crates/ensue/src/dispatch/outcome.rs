//! What became of events: pieces that are put together to commits, and taken apart again.
//!
//! All effects, deaths and so on of many events lie in one [`Commit`], one after the other; a
//! *piece* says how many of each are one event's. So an event costs no allocation, and a commit can
//! be cut between any two events.

use super::overlay::CellVersion;
use crate::engine::{Append, Commit, Death, Delivery, Effect, Position, Retry, Run, StateWrite};
use crate::event::{Envelope, EventId};

/// A commit takes no further pieces beyond so many effects.
const COMMIT_EFFECTS_MAX: usize = 8_192;
/// A commit takes no further pieces beyond so many bytes; one piece is always possible.
const COMMIT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What a record costs beside its content, in bytes, at the most.
const RECORD_BYTES: usize = 48;
/// What a record about a scheduled or cancelled event costs beside its content.
const SCHEDULE_BYTES: usize = 128;
/// What the outcome of an event costs beside its texts.
const OUTCOME_BYTES: usize = 64;

/// What became of some events, those of each key in order.
#[derive(Default)]
pub(super) struct Outcomes {
    commit: Commit,
    pieces: Vec<Piece>,
    /// The events that block their keys once this is durable.
    blocked: Vec<Envelope>,
    /// What the state writes show to later events of their keys meanwhile.
    cells: Vec<CellVersion>,
    /// What all pieces weigh, and the one that is being put together.
    bytes: usize,
    open: Open,
    /// How many events were handed back without having begun.
    returned: usize,
    /// The key whose refused outcome the only piece is the dead letter of.
    condemned: Option<Lane>,
}

/// A key, as the hash of its topic and name: keys that share one are stopped together.
pub(super) type Lane = u64;

/// Whose event a piece is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) lane: Lane,
    pub(super) worker: u8,
    pub(super) attempt: u32,
}

/// One event's part of a commit.
#[derive(Clone, Copy)]
struct Piece {
    subject: Subject,
    outcome: Outcome,
    blocks: bool,
    open: Open,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Settled,
    Retried,
    Parked,
    Dead,
}

/// How much of each list a piece has.
#[derive(Clone, Copy, Default)]
struct Open {
    effects: u32,
    cells: u32,
    /// What it weighs.
    bytes: u32,
}

/// An outcome that no commit can hold.
pub(super) enum Culprit {
    /// An event that was handled.
    Settled(Subject, Position),
    /// A dead letter, for a reason other than what goes with it.
    Other(Subject),
}

impl Outcomes {
    /// How many events this settles, one way or another.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What is to be committed.
    pub(super) fn commit(&self) -> &Commit {
        &self.commit
    }

    /// Whether there is anything to tell the coordinator.
    pub(super) fn has_news(&self) -> bool {
        !self.pieces.is_empty() || self.returned > 0
    }

    /// What it weighs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn take_returned(&mut self) -> usize {
        std::mem::take(&mut self.returned)
    }

    pub(super) fn hand_back(&mut self) {
        self.returned += 1;
    }

    pub(super) fn condemned(&self) -> Option<Lane> {
        self.condemned
    }

    /// Says that the outcome of a key was refused and this is its dead letter.
    pub(super) fn condemn(&mut self, lane: Lane) {
        self.condemned = Some(lane);
    }

    /// What the piece that is being put together weighs so far.
    pub(super) fn open_bytes(&self) -> usize {
        self.open.bytes as usize
    }

    pub(super) fn append(&mut self, append: Append) {
        let more = match append.schedule {
            Some(_) => SCHEDULE_BYTES + append.envelope.id().len(),
            None => RECORD_BYTES,
        };
        self.weigh(append.envelope.content().len() + more);
        self.open.effects += 1;
        self.commit.effects.push(Effect::Append(append));
    }

    pub(super) fn cancel(&mut self, name: EventId) {
        self.weigh(SCHEDULE_BYTES + name.source().len() + name.id().len());
        self.open.effects += 1;
        self.commit.effects.push(Effect::Cancel(name));
    }

    pub(super) fn write(&mut self, write: StateWrite, version: CellVersion) {
        self.weigh(cell_bytes(&write));
        self.open.cells += 1;
        self.commit.state.push(write);
        self.cells.push(version);
    }

    /// Drops what belongs to no piece yet.
    pub(super) fn undo(&mut self) -> Vec<CellVersion> {
        let open = std::mem::take(&mut self.open);
        let effects = self.commit.effects.len() - open.effects as usize;
        self.commit.effects.truncate(effects);
        let cells = self.commit.state.len() - open.cells as usize;
        self.commit.state.truncate(cells);
        self.cells.split_off(cells)
    }

    pub(super) fn settle(&mut self, subject: Subject, position: Position) {
        self.commit.settled.push(position);
        self.close(subject, Outcome::Settled, None);
    }

    /// Another attempt, for which the key waits.
    pub(super) fn retry(&mut self, subject: Subject, retry: Retry, key: Envelope) {
        self.weigh(key.stream().len() + retry.reason.len());
        self.commit.retries.push(retry);
        self.close(subject, Outcome::Retried, Some(key));
    }

    pub(super) fn park(&mut self, subject: Subject, delivery: Delivery) {
        self.weigh(delivery.envelope.stream().len());
        self.commit.parked.push(delivery);
        self.close(subject, Outcome::Parked, None);
    }

    /// A dead letter; with `key`, what comes behind it in this process has to wait until it is
    /// durable.
    pub(super) fn die(&mut self, subject: Subject, death: Death, key: Option<Envelope>) {
        let envelope = &death.envelope;
        let texts = envelope.stream().len() + envelope.id().len() + envelope.event_type().len();
        self.weigh(texts + death.reason.len());
        self.commit.dead.push(death);
        self.close(subject, Outcome::Dead, key);
    }

    fn weigh(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.open.bytes = self.open.bytes.saturating_add(bytes);
    }

    fn close(&mut self, subject: Subject, outcome: Outcome, blocks: Option<Envelope>) {
        self.weigh(OUTCOME_BYTES);
        let open = std::mem::take(&mut self.open);
        self.bytes += open.bytes as usize;
        self.pieces.push(Piece {
            subject,
            outcome,
            blocks: blocks.is_some(),
            open,
        });
        self.blocked.extend(blocks);
    }

    /// How many pieces from the front one commit takes beside `taken`.
    fn fitting(&self, taken: &Self) -> usize {
        let (mut effects, mut bytes) = (taken.commit.effects.len(), taken.bytes);
        if effects + self.commit.effects.len() <= COMMIT_EFFECTS_MAX
            && bytes + self.bytes <= COMMIT_BYTES_MAX
        {
            return self.len();
        }
        let fits = |piece: &&Piece| {
            effects += piece.open.effects as usize;
            bytes += piece.open.bytes as usize;
            effects <= COMMIT_EFFECTS_MAX && bytes <= COMMIT_BYTES_MAX
        };
        self.pieces.iter().take_while(fits).count()
    }

    /// Moves as much of `self` to the end of `batch` as one commit takes; whether that was all.
    pub(super) fn fill(&mut self, batch: &mut Self) -> bool {
        let fitting = self.fitting(batch).max(usize::from(batch.is_empty()));
        let rest = self.split_off(fitting);
        batch.merge(std::mem::replace(self, rest));
        self.is_empty()
    }

    /// Adds what comes after this.
    pub(super) fn merge(&mut self, mut more: Self) {
        if self.is_empty() {
            *self = more;
            return;
        }
        let Commit {
            settled,
            retries,
            parked,
            dead,
            effects,
            state,
        } = &mut more.commit;
        self.commit.settled.append(settled);
        self.commit.retries.append(retries);
        self.commit.parked.append(parked);
        self.commit.dead.append(dead);
        self.commit.effects.append(effects);
        self.commit.state.append(state);
        self.pieces.append(&mut more.pieces);
        self.blocked.append(&mut more.blocked);
        self.cells.append(&mut more.cells);
        self.bytes += more.bytes;
    }

    /// Keeps the first `count` pieces and gives the others.
    pub(super) fn split_off(&mut self, count: usize) -> Self {
        if count >= self.len() {
            return Self::default();
        }
        if count == 0 {
            return std::mem::take(self);
        }
        let first = self.pieces.iter().take(count);
        let count_of = |outcome| first.clone().filter(|it| it.outcome == outcome).count();
        let (settled, retried) = (count_of(Outcome::Settled), count_of(Outcome::Retried));
        let (parked, dead) = (count_of(Outcome::Parked), count_of(Outcome::Dead));
        let blocked = first.clone().filter(|piece| piece.blocks).count();
        let effects: usize = first.clone().map(|piece| piece.open.effects as usize).sum();
        let cells: usize = first.clone().map(|piece| piece.open.cells as usize).sum();
        let bytes: usize = first.map(|piece| piece.open.bytes as usize).sum();
        let rest = Self {
            commit: Commit {
                settled: self.commit.settled.split_off(settled),
                retries: self.commit.retries.split_off(retried),
                parked: self.commit.parked.split_off(parked),
                dead: self.commit.dead.split_off(dead),
                effects: self.commit.effects.split_off(effects),
                state: self.commit.state.split_off(cells),
            },
            pieces: self.pieces.split_off(count),
            blocked: self.blocked.split_off(blocked),
            cells: self.cells.split_off(cells),
            bytes: self.bytes - bytes,
            ..Self::default()
        };
        self.bytes = bytes;
        rest
    }

    /// Takes out what became of events of a key; the rest stays as it is.
    pub(super) fn take_lane(&mut self, lane: Lane) -> Self {
        let mut taken = Self::default();
        if !self.pieces.iter().any(|piece| piece.subject.lane == lane) {
            return taken;
        }
        let mut rest = std::mem::take(self);
        while let Some(first) = rest.pieces.first() {
            let is_wanted = first.subject.lane == lane;
            let run = rest
                .pieces
                .iter()
                .take_while(|piece| (piece.subject.lane == lane) == is_wanted)
                .count();
            let after = rest.split_off(run);
            let run = std::mem::replace(&mut rest, after);
            match is_wanted {
                true => taken.merge(run),
                false => self.merge(run),
            }
        }
        taken
    }

    /// Cuts it in two halves, of which this keeps the first. `None` when there is one piece only.
    pub(super) fn halve(&mut self) -> Option<Self> {
        (self.len() > 1).then(|| self.split_off(self.len() / 2))
    }

    /// What its only piece is about, if no commit can hold it.
    pub(super) fn culprit(&self) -> Option<Culprit> {
        let piece = self.pieces.first()?;
        Some(match self.commit.settled.first() {
            Some(position) => Culprit::Settled(piece.subject, *position),
            None => Culprit::Other(piece.subject),
        })
    }

    /// Drops what was to be appended; whether there was anything.
    pub(super) fn strip(&mut self) -> bool {
        for piece in &mut self.pieces {
            piece.open.effects = 0;
        }
        !std::mem::take(&mut self.commit.effects).is_empty()
    }

    /// What its state writes show to later events.
    pub(super) fn take_cells(&mut self) -> Vec<CellVersion> {
        std::mem::take(&mut self.cells)
    }

    /// What is to be done when it is durable: which worker's keys are blocked.
    pub(super) fn take_blocked(&mut self) -> impl Iterator<Item = (u8, Envelope)> {
        let blocks = self.pieces.iter().filter(|piece| piece.blocks);
        let workers: Vec<u8> = blocks.map(|piece| piece.subject.worker).collect();
        workers.into_iter().zip(std::mem::take(&mut self.blocked))
    }

    /// What is needed to hand all of its events back: the positions of those that were handled, and
    /// the others as they were taken.
    pub(super) fn retract(self) -> (Vec<Position>, Vec<Delivery>, Vec<CellVersion>) {
        let delivery = |envelope, position, attempt| Delivery {
            envelope,
            position,
            attempt,
            generation: 0,
            run: Run::default(),
        };
        let mut back = self.commit.parked;
        for retry in self.commit.retries {
            back.push(delivery(retry.envelope, retry.position, retry.attempt));
        }
        for death in self.commit.dead {
            back.push(delivery(death.envelope, death.position, death.attempts));
        }
        (self.commit.settled, back, self.cells)
    }
}

/// What a write of a cell weighs.
pub(super) fn cell_bytes(write: &StateWrite) -> usize {
    let texts = write.topic.len() + write.key.len() + write.name.len();
    RECORD_BYTES + texts + write.value.as_ref().map_or(0, bytes::Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(lane: Lane) -> Subject {
        Subject {
            lane,
            worker: 0,
            attempt: 1,
        }
    }

    fn event(key: &str, bytes: usize) -> Envelope {
        let payload = vec![b'x'; bytes];
        let builder = Envelope::builder("t", "e").key(key);
        builder
            .payload(crate::Codec::Json, payload)
            .build()
            .unwrap()
    }

    /// An outcome of each kind for each position, of alternating keys, with effects of `bytes`.
    fn outcomes(positions: std::ops::Range<u64>, bytes: usize) -> Outcomes {
        let mut all = Outcomes::default();
        for at in positions {
            let (envelope, position) = (event("k", bytes), Position::new(at));
            let delivery = Delivery {
                envelope: envelope.clone(),
                position,
                attempt: 1,
                generation: 0,
                run: Run::default(),
            };
            match at % 3 {
                0 => {
                    all.append(envelope.clone().into());
                    all.cancel(EventId::new("/s", "x"));
                    all.settle(subject(at % 2), position);
                }
                1 => all.park(subject(at % 2), delivery),
                _ => {
                    all.append(envelope.clone().into());
                    let retry = Retry {
                        envelope: envelope.clone(),
                        position,
                        attempt: 1,
                        due: crate::Timestamp::EPOCH,
                        reason: "r".into(),
                    };
                    all.retry(subject(at % 2), retry, envelope);
                }
            }
        }
        all
    }

    fn positions(all: &Outcomes) -> Vec<u64> {
        let commit = &all.commit;
        let settled = commit.settled.iter().copied();
        let parked = commit.parked.iter().map(|it| it.position);
        let retried = commit.retries.iter().map(|it| it.position);
        let mut all: Vec<u64> = settled
            .chain(parked)
            .chain(retried)
            .map(Position::get)
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_cut_between_any_two_events_gives_each_its_own() {
        for cut in 0..=12 {
            let mut first = outcomes(0..12, 1);
            let (bytes, effects) = (first.bytes, first.commit.effects.len());
            let rest = first.split_off(cut);
            assert_eq!(positions(&first), (0..cut as u64).collect::<Vec<_>>());
            assert_eq!(positions(&rest), (cut as u64..12).collect::<Vec<_>>());
            assert_eq!(first.bytes + rest.bytes, bytes);
            assert_eq!(
                first.commit.effects.len(),
                outcomes(0..cut as u64, 1).commit.effects.len()
            );
            assert_eq!(first.blocked.len(), first.commit.retries.len());
            first.merge(rest);
            assert_eq!((first.bytes, first.commit.effects.len()), (bytes, effects));
        }
    }

    #[test]
    fn a_commit_is_filled_up_to_its_limit_and_holds_one_event_whatever_it_weighs() {
        let mut queue = outcomes(0..9, COMMIT_BYTES_MAX / 3);
        let mut sizes = Vec::new();
        while !queue.is_empty() {
            let mut batch = Outcomes::default();
            queue.fill(&mut batch);
            assert!(batch.bytes <= COMMIT_BYTES_MAX);
            sizes.push(positions(&batch).len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 9);
        assert!(sizes.iter().all(|size| (1..=4).contains(size)), "{sizes:?}");

        let mut large = outcomes(0..1, 3 * COMMIT_BYTES_MAX);
        large.merge(outcomes(1..3, 1));
        let mut batch = Outcomes::default();
        assert!(!large.fill(&mut batch));
        assert_eq!((batch.len(), large.len()), (1, 2));
    }

    #[test]
    fn a_keys_outcomes_are_taken_out_of_the_others() {
        let mut all = outcomes(0..11, 1);
        let taken = all.take_lane(1);
        assert_eq!(positions(&taken), [1, 3, 5, 7, 9]);
        assert_eq!(positions(&all), [0, 2, 4, 6, 8, 10]);
        assert_eq!(all.take_lane(7).len(), 0);
        let (settled, back, _) = taken.retract();
        assert_eq!((settled.len(), back.len()), (2, 3));
    }

    #[test]
    fn what_is_undone_leaves_nothing() {
        let mut all = outcomes(0..4, 1);
        let (bytes, effects) = (all.bytes, all.commit.effects.len());
        all.append(event("k", 9).into());
        all.cancel(EventId::new("/s", "y"));
        assert!(all.undo().is_empty());
        assert_eq!((all.bytes, all.commit.effects.len()), (bytes, effects));
        all.settle(subject(1), Position::new(9));
        assert_eq!(all.split_off(4).commit.effects.len(), 0);
    }
}
