//! What is published, and what follows from it. Every byte derives from the seed, the key and the
//! number, so that a reader of an event knows what it must be.

use std::hash::{DefaultHasher, Hash, Hasher};

use ensue::prelude::*;
use ensue::{EnvelopeBuilder, Timestamp};

/// How many publishers there are.
pub(crate) const PUBLISHERS: usize = 4;
/// How many keys each publisher has for itself.
const KEYS_EACH: usize = 4;
/// How many keys there are.
pub(crate) const KEYS: usize = PUBLISHERS * KEYS_EACH;

/// Some time in 2024, in microseconds since the Unix epoch.
const EPOCH_MICROS: i64 = 1_704_067_200_000_000;

/// One order: its key, and its number within the key, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Mark(pub(crate) usize, pub(crate) u64);

impl Mark {
    pub(crate) fn key(self) -> String {
        format!("key-{}", self.0)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.key(), self.1)
    }
}

/// The keys of a publisher.
pub(crate) fn keys_of(publisher: usize) -> std::ops::Range<usize> {
    publisher * KEYS_EACH..(publisher + 1) * KEYS_EACH
}

/// Published by the publishers.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.placed", topic = "orders", key = key)]
pub(crate) struct Placed {
    key: String,
    number: u64,
    filler: String,
}

/// Follows from an order in the group `bills`, made by hand.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.billed", topic = "bills", key = key)]
pub(crate) struct Billed {
    key: String,
    number: u64,
    /// The hash of the order as its member saw it.
    order: u64,
}

/// Follows from an order in the group `audits`, returned by a handler.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.audited", topic = "audits", key = key)]
pub(crate) struct Audited {
    key: String,
    number: u64,
    /// The hash of the order as the handler saw it.
    order: u64,
}

impl Audited {
    /// What follows from an order in a handler.
    pub(crate) fn of(order: Placed, seen: &Envelope) -> Self {
        Self {
            key: order.key,
            number: order.number,
            order: hash(seen),
        }
    }
}

/// What the group `trials` does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is handled.
    Good,
    /// Its first attempt fails.
    Stumbles,
    /// Every attempt fails; later orders of its key go on.
    Skipped,
    /// Every attempt fails; later orders of its key wait behind it.
    Parked,
}

impl Fate {
    /// Whether it ends as a dead letter.
    pub(crate) fn is_doomed(self) -> bool {
        matches!(self, Self::Skipped | Self::Parked)
    }
}

/// Everything that can be published with one seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) seed: u64,
}

impl Orders {
    /// The order of a mark.
    pub(crate) fn order(&self, mark: Mark) -> ensue::Result<Envelope> {
        let mut random = self.random(mark);
        let bytes = match random.u8(..) {
            0 => random.usize(10_000..40_000),
            1..40 => random.usize(600..4_000),
            _ => random.usize(0..600),
        };
        let filler = std::iter::repeat_with(|| random.alphanumeric());
        let placed = Placed {
            key: mark.key(),
            number: mark.1,
            filler: filler.take(bytes).collect(),
        };
        let builder = Envelope::of(&placed)?;
        Ok(self.named(builder, "order", mark).build()?)
    }

    /// What follows from `order`, as a member of `bills` sees it.
    pub(crate) fn bill(&self, order: &Envelope, mark: Mark) -> ensue::Result<Envelope> {
        self.bill_of(hash(order), mark)
    }

    /// What follows from an order with this hash.
    pub(crate) fn bill_of(&self, order: u64, mark: Mark) -> ensue::Result<Envelope> {
        let (key, number) = (mark.key(), mark.1);
        let builder = Envelope::of(&Billed { key, number, order })?;
        let builder = self.named(builder, "bill", mark);
        Ok(builder.causation(id("order", mark)).build()?)
    }

    /// What the group `trials` does with an order.
    pub(crate) fn fate(&self, mark: Mark) -> Fate {
        let mut random = self.random(mark);
        // Not what decided about the order's size.
        random.u64(..);
        match random.u16(..1_000) {
            0..6 => Fate::Skipped,
            6..8 => Fate::Parked,
            8..30 => Fate::Stumbles,
            _ => Fate::Good,
        }
    }

    fn named(&self, builder: EnvelopeBuilder, what: &str, mark: Mark) -> EnvelopeBuilder {
        let micros = EPOCH_MICROS.saturating_add_unsigned(mark.1);
        builder
            .id(id(what, mark))
            .source("/torture")
            .time(Timestamp::from_micros(micros))
    }

    fn random(&self, mark: Mark) -> fastrand::Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, mark).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }
}

fn id(what: &str, mark: Mark) -> String {
    format!("{what}/{mark}")
}

/// The key and number of an event of ours: all of them carry both.
pub(crate) fn mark_of(envelope: &Envelope) -> Option<Mark> {
    /// What all payloads have.
    #[derive(Deserialize)]
    struct Numbered {
        number: u64,
    }
    let key = envelope.key().strip_prefix("key-")?.parse().ok()?;
    let numbered: Numbered = serde_json::from_slice(envelope.payload()).ok()?;
    Some(Mark(key, numbered.number))
}

/// The hash of everything in an event. Not the log's checksum, which is what is being doubted.
pub(crate) fn hash(envelope: &Envelope) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(envelope.content());
    hasher.finish()
}

/// What a handler returned for an order with this hash, if `audited` is that.
pub(crate) fn is_audit_of(audited: &Envelope, order: u64, mark: Mark) -> bool {
    let is_right =
        |found: Audited| (found.key, found.number, found.order) == (mark.key(), mark.1, order);
    audited.causation() == Some(id("order", mark).as_str())
        && audited.decode::<Audited>().is_ok_and(is_right)
}

/// What the group `tally` writes into its cell of a key for an order with this hash.
pub(crate) fn cell(number: u64, order: u64) -> String {
    format!("{number}:{order:016x}")
}

/// The number in a cell.
pub(crate) fn number_in(cell: &str) -> Option<u64> {
    cell.split_once(':')?.0.parse().ok()
}
