//! Knows what was promised, looks at what is there, and says what is wrong.
//!
//! Everything is counted per key: orders are published with ascending numbers and handled in order,
//! so that "up to which number" says it all. What was acknowledged is a lower bound, what was
//! attempted an upper one, and what is found after a kill must lie between.

mod groups;
mod letters;
mod review;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ensue::Envelope;
use ensue::engine::Recorded;

use self::groups::Lane;
pub(crate) use self::letters::FoundLetter;
use self::letters::Letter;
pub(crate) use self::violation::{Kind, Violation};
use super::orders::{KEYS, Mark, Orders, hash, is_audit_of, mark_of};
use super::report::{Decided, Group, Published, Report};

/// The topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stream {
    /// What was published.
    Orders,
    /// What the group `bills` made of it.
    Bills,
    /// What the app's handler made of it.
    Audits,
}

impl Stream {
    pub(crate) const ALL: [Self; 3] = [Self::Orders, Self::Bills, Self::Audits];

    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Bills => "bills",
            Self::Audits => "audits",
        }
    }

    fn of(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.topic() == topic)
    }
}

/// Where an event is, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: u64,
    hash: u64,
}

/// The place of what a later number was found before.
const MISSING: Place = Place {
    position: u64::MAX,
    hash: 0,
};

/// What is known of the orders of a key.
#[derive(Clone, Debug, Default)]
struct Sent {
    /// Those that were acknowledged, by number.
    acknowledged: Vec<Place>,
    /// How many of them were looked for and found.
    found: usize,
    /// The last number that was attempted.
    attempted: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) acknowledged: u64,
    pub(crate) commits: u64,
    pub(crate) bills: u64,
    pub(crate) audits: u64,
    pub(crate) retries: u64,
    pub(crate) dead: u64,
}

/// The checker.
#[derive(Debug)]
pub(crate) struct Checker {
    orders: Orders,
    sent: Vec<Sent>,
    /// What was found in the log, by stream, key and number.
    places: [Vec<Vec<Place>>; 3],
    missing: BTreeSet<(Stream, Mark)>,
    /// Everything before this position was looked at.
    cursor: u64,
    lanes: HashMap<Group, Vec<Lane>>,
    /// Batches that were begun, by publisher; and of each event whether it was there before.
    publishing: HashMap<usize, Vec<(Mark, bool)>>,
    /// Commits that were begun, by group and member.
    committing: HashMap<(Group, usize), Decided>,
    letters: BTreeMap<Mark, Letter>,
    discarding: Vec<Mark>,
    pub(crate) is_drained: bool,
    pub(crate) totals: Totals,
    violations: Vec<Violation>,
}

impl Checker {
    pub(crate) fn new(seed: u64) -> Self {
        let lanes = |group| (group, vec![Lane::default(); KEYS]);
        Self {
            orders: Orders { seed },
            sent: vec![Sent::default(); KEYS],
            places: std::array::from_fn(|_| vec![Vec::new(); KEYS]),
            missing: BTreeSet::new(),
            cursor: 0,
            lanes: Group::ALL.into_iter().map(lanes).collect(),
            publishing: HashMap::new(),
            committing: HashMap::new(),
            letters: BTreeMap::new(),
            discarding: Vec::new(),
            is_drained: false,
            totals: Totals::default(),
            violations: Vec::new(),
        }
    }

    /// What was found to be wrong.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn accuse(&mut self, kind: Kind, what: impl std::fmt::Display) {
        let what = what.to_string();
        self.violations.push(Violation { kind, what });
    }

    /// The number that each key goes on at: the first that was not acknowledged.
    pub(crate) fn next(&self) -> Vec<u64> {
        let next = |sent: &Sent| sent.acknowledged.len() as u64 + 1;
        self.sent.iter().map(next).collect()
    }

    /// Where to go on looking.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// A child starts: nothing is under way.
    pub(crate) fn begins(&mut self) {
        self.publishing.clear();
        self.committing.clear();
        self.discarding.clear();
        self.lanes.values_mut().flatten().for_each(Lane::begins);
    }

    /// A child says something.
    pub(crate) fn hears(&mut self, report: Report) {
        match report {
            Report::Opened => {}
            Report::Publishing { publisher, marks } => self.publishing(publisher, &marks),
            Report::Published { publisher, events } => self.published(publisher, &events),
            Report::Taken { group, events, .. } => {
                events.iter().for_each(|taken| self.took(group, taken));
            }
            Report::Committing {
                group,
                member,
                decided,
            } => self.committing(group, member, decided),
            Report::Committed { group, member } => self.committed(group, member),
            Report::Discarding { marks } => self.discarding(marks),
            Report::Discarded => self.discarded(),
            Report::Flaw { what } => self.accuse(Kind::Failed, what),
            Report::Drained => self.is_drained = true,
        }
    }

    fn publishing(&mut self, publisher: usize, marks: &[Mark]) {
        let begin = |mark: &Mark| {
            let sent = self.sent.get_mut(mark.0)?;
            sent.attempted = sent.attempted.max(mark.1);
            let is_acknowledged = sent.acknowledged.len() as u64 >= mark.1;
            Some((*mark, is_acknowledged))
        };
        let begun: Vec<_> = marks.iter().filter_map(begin).collect();
        // Before the child was started, everything that is there was looked at.
        let is_there = |mark| self.place(Stream::Orders, mark).is_some();
        let begun = begun.into_iter();
        let begun = begun.map(|(mark, is_acknowledged)| (mark, is_acknowledged || is_there(mark)));
        let begun = begun.collect();
        self.publishing.insert(publisher, begun);
    }

    fn published(&mut self, publisher: usize, events: &[Published]) {
        let begun = self.publishing.remove(&publisher).unwrap_or_default();
        for (published, (mark, was_there)) in events.iter().zip(begun) {
            let place = Place {
                position: published.position,
                hash: published.hash,
            };
            if published.is_duplicate && !was_there {
                let what = format!("order {mark} was published first and is called a duplicate");
                self.accuse(Kind::Invented, what);
            }
            self.acknowledged(mark, place, published.is_duplicate);
        }
    }

    fn acknowledged(&mut self, mark: Mark, place: Place, is_duplicate: bool) {
        let found = self.place(Stream::Orders, mark);
        let Some(sent) = self.sent.get_mut(mark.0) else {
            return;
        };
        let earlier = sent.acknowledged.get(at(mark.1)).copied();
        if earlier.is_none() {
            sent.acknowledged.push(place);
            self.totals.acknowledged += 1;
        }
        let Some(earlier) = earlier.or(found) else {
            return;
        };
        if !is_duplicate || earlier.position != place.position {
            let (first, second) = (earlier.position, place.position);
            let what = format!("{mark} was acknowledged at {second} and is at {first}");
            self.accuse(Kind::Twice, what);
        }
    }

    fn place(&self, stream: Stream, mark: Mark) -> Option<Place> {
        let key = self.places.get(stream as usize)?.get(mark.0)?;
        let place = key.get(at(mark.1)).copied();
        place.filter(|place| *place != MISSING)
    }

    /// How many events of a key were found.
    fn count(&self, stream: Stream, key: usize) -> u64 {
        let keys = self.places.get(stream as usize);
        keys.and_then(|keys| keys.get(key)).map_or(0, Vec::len) as u64
    }

    /// What an order must be.
    fn order_hash(&self, mark: Mark) -> Option<u64> {
        let acknowledged = || self.sent.get(mark.0)?.acknowledged.get(at(mark.1)).copied();
        let known = self.place(Stream::Orders, mark).or_else(acknowledged);
        known
            .map(|place| place.hash)
            .or_else(|| self.orders.order(mark).ok().as_ref().map(hash))
    }
}

/// What is found in the log.
impl Checker {
    /// An event that was not looked at before.
    pub(crate) fn sees(&mut self, recorded: &Recorded) {
        let position = recorded.position.get();
        let envelope = &recorded.envelope;
        if position < self.cursor {
            let what = format!("position {position} came after {}", self.cursor);
            self.accuse(Kind::Reordered, what);
        }
        self.cursor = self.cursor.max(position + 1);
        let known = Stream::of(envelope.topic()).zip(mark_of(envelope));
        let Some((stream, mark)) = known.filter(|(_, mark)| mark.0 < KEYS && mark.1 > 0) else {
            let (topic, id) = (envelope.topic(), envelope.id());
            let what = format!("`{id}` in `{topic}` at {position} was never published");
            return self.accuse(Kind::Invented, what);
        };
        match stream {
            Stream::Orders => self.check_order(mark, envelope),
            Stream::Bills => self.check_bill(mark, envelope),
            Stream::Audits => self.check_audit(mark, envelope),
        }
        let place = Place {
            position,
            hash: hash(envelope),
        };
        self.put(stream, mark, place);
    }

    fn put(&mut self, stream: Stream, mark: Mark, place: Place) {
        let topic = stream.topic();
        let Some(places) = self.places.get_mut(stream as usize) else {
            return;
        };
        let Some(places) = places.get_mut(mark.0) else {
            return;
        };
        let index = at(mark.1);
        if let Some(earlier) = places.get_mut(index) {
            let first = earlier.position;
            if *earlier == MISSING {
                *earlier = place;
                self.missing.remove(&(stream, mark));
                let what = format!("{topic} {mark} comes after later ones of its key");
                return self.accuse(Kind::Reordered, what);
            }
            let what = format!("{topic} {mark} is at {first} and at {}", place.position);
            return self.accuse(Kind::Twice, what);
        }
        // A key is not skipped by much: more is the sign of a mark that is wrong itself.
        for index in places.len()..index.min(places.len() + 10_000) {
            let number = index as u64 + 1;
            self.missing.insert((stream, Mark(mark.0, number)));
            places.push(MISSING);
        }
        places.push(place);
        match stream {
            Stream::Orders => {}
            Stream::Bills => self.totals.bills += 1,
            Stream::Audits => self.totals.audits += 1,
        }
    }

    fn check_order(&mut self, mark: Mark, envelope: &Envelope) {
        let attempted = self.sent.get(mark.0).map_or(0, |sent| sent.attempted);
        if mark.1 > attempted {
            self.accuse(
                Kind::Invented,
                format_args!("order {mark} was never published"),
            );
        }
        let is_right = self
            .orders
            .order(mark)
            .is_ok_and(|order| hash(&order) == hash(envelope));
        if !is_right {
            self.accuse(
                Kind::Altered,
                format_args!("order {mark} is not what was published"),
            );
        }
    }

    fn check_bill(&mut self, mark: Mark, envelope: &Envelope) {
        let order = self.cause_of(Stream::Bills, mark);
        let attempted = self
            .lane(Group::Bills, mark.0)
            .map_or(0, |lane| lane.attempted);
        if mark.1 > attempted {
            let what = format!("the bill of {mark} was never committed");
            self.accuse(Kind::Invented, what);
        }
        let is_right = order.is_none_or(|order| {
            let bill = self.orders.bill_of(order.hash, mark);
            bill.is_ok_and(|bill| hash(&bill) == hash(envelope))
        });
        if !is_right {
            self.accuse(
                Kind::Altered,
                format_args!("the bill of {mark} is not what follows from it"),
            );
        }
    }

    fn check_audit(&mut self, mark: Mark, envelope: &Envelope) {
        let order = self.cause_of(Stream::Audits, mark);
        if !order.is_none_or(|order| is_audit_of(envelope, order.hash, mark)) {
            let what = format!("the audit of {mark} is not what follows from it");
            self.accuse(Kind::Altered, what);
        }
    }

    fn cause_of(&mut self, stream: Stream, mark: Mark) -> Option<Place> {
        let order = self.place(Stream::Orders, mark);
        if order.is_none() {
            let what = format!("{} {mark} has no cause", stream.topic());
            self.accuse(Kind::Invented, what);
        }
        order
    }

    /// Everything that is there was looked at: is everything that was acknowledged among it?
    pub(crate) fn looked(&mut self) {
        for (stream, mark) in std::mem::take(&mut self.missing) {
            let what = format!(
                "{} {mark} is gone, later ones of its key are there",
                stream.topic()
            );
            self.accuse(Kind::Lost, what);
        }
        for key in 0..KEYS {
            let Some(sent) = self.sent.get(key) else {
                continue;
            };
            let found = sent.found;
            let new = sent.acknowledged.get(found..).unwrap_or_default().to_vec();
            for (index, promised) in new.into_iter().enumerate() {
                self.check_promise(Mark(key, (found + index) as u64 + 1), promised);
            }
            if let Some(sent) = self.sent.get_mut(key) {
                sent.found = sent.acknowledged.len();
            }
        }
        self.check_batches();
        self.check_bills();
    }

    fn check_promise(&mut self, mark: Mark, promised: Place) {
        let Some(found) = self.place(Stream::Orders, mark) else {
            let position = promised.position;
            let what = format!("order {mark} was acknowledged at {position} and is gone");
            return self.accuse(Kind::Lost, what);
        };
        if found.position != promised.position {
            let (found, promised) = (found.position, promised.position);
            let what = format!("order {mark} was acknowledged at {promised} and is at {found}");
            self.accuse(Kind::Reordered, what);
        }
        if found.hash != promised.hash {
            let what = format!("order {mark} is not what was acknowledged");
            self.accuse(Kind::Altered, what);
        }
    }

    /// Of a batch that was not acknowledged, everything is there or nothing.
    fn check_batches(&mut self) {
        for (publisher, begun) in std::mem::take(&mut self.publishing) {
            let new: Vec<Mark> = begun
                .into_iter()
                .filter_map(|(mark, was_there)| (!was_there).then_some(mark))
                .collect();
            let is_there = |mark: &&Mark| self.place(Stream::Orders, **mark).is_some();
            let there = new.iter().filter(is_there).count();
            if there != 0 && there != new.len() {
                let what = format!(
                    "{there} of {} events of a batch of publisher {publisher}",
                    new.len()
                );
                self.accuse(Kind::Torn, what);
            }
        }
    }
}

/// The index of a number; of 0, which nothing has, that of nothing.
fn at(number: u64) -> usize {
    let index = number.checked_sub(1);
    index.map_or(usize::MAX, |index| {
        usize::try_from(index).unwrap_or(usize::MAX)
    })
}
