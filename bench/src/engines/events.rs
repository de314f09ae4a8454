//! The events of a run, made before anything is measured.

use bytes::{Bytes, BytesMut};
use ensue::engine::{Append, Delivery};
use ensue::{Codec, Envelope};

use crate::Outcome;

/// Events of one append, and of one message of the client's.
pub(super) const BATCH_EVENTS: usize = 100;
pub(super) const TOPIC: &str = "orders";
const PAYLOAD_BYTES: usize = 256;
const KEYS: usize = 1_000;
const HEAD: &str = r#"{"number":""#;
const NUMBER_DIGITS: usize = 12;

/// The same events for both sides.
pub(super) struct Events {
    envelopes: Vec<Envelope>,
}

impl Events {
    /// Events with ids that were never used.
    pub(super) fn new(count: usize) -> Outcome<Self> {
        let mut random = fastrand::Rng::new();
        let envelope = |number| -> Outcome<Envelope> {
            let mut payload = format!(r#"{HEAD}{number:0NUMBER_DIGITS$}","note":""#);
            let letters = PAYLOAD_BYTES.saturating_sub(payload.len() + 2);
            payload.extend((0..letters).map(|_| random.alphanumeric()));
            payload.push_str("\"}");
            Ok(Envelope::builder(TOPIC, "order.created")
                .key(format!("customer-{}", number % KEYS))
                .source("/bench")
                .payload(Codec::Json, payload.into_bytes())
                .build()?)
        };
        let envelopes = (0..count).map(envelope).collect::<Outcome<_>>()?;
        Ok(Self { envelopes })
    }

    pub(super) fn len(&self) -> usize {
        self.envelopes.len()
    }

    /// What the engine appends.
    pub(super) fn batches(&self) -> Vec<Vec<Append>> {
        let batches = self.envelopes.chunks(BATCH_EVENTS);
        let batch = |some: &[Envelope]| some.iter().cloned().map(Append::from).collect();
        batches.map(batch).collect()
    }

    /// What the client writes: the encoded events of a batch, one after the other.
    pub(super) fn messages(&self) -> Vec<Bytes> {
        let joined = |some: &[Envelope]| {
            let mut message = BytesMut::new();
            for envelope in some {
                message.extend_from_slice(envelope.content());
            }
            message.freeze()
        };
        self.envelopes.chunks(BATCH_EVENTS).map(joined).collect()
    }

    /// What the client writes when each event is a message.
    pub(super) fn singles(&self, count: usize) -> Vec<Bytes> {
        let envelopes = self.envelopes.iter().take(count);
        envelopes.map(|it| it.content().clone()).collect()
    }

    /// Each event by itself.
    pub(super) fn envelopes(&self) -> &[Envelope] {
        &self.envelopes
    }
}

/// Which events were delivered: each has to be, once.
pub(super) struct Seen {
    is_seen: Vec<bool>,
    pub(super) count: usize,
}

impl Seen {
    pub(super) fn new(events: usize) -> Self {
        Self {
            is_seen: vec![false; events],
            count: 0,
        }
    }

    pub(super) fn add(&mut self, delivery: &Delivery) -> Outcome<()> {
        let payload = delivery.envelope.payload();
        let digits = payload.get(HEAD.len()..HEAD.len() + NUMBER_DIGITS);
        let number: usize = std::str::from_utf8(digits.unwrap_or_default())?.parse()?;
        match self.is_seen.get_mut(number) {
            Some(is_seen) if !*is_seen => *is_seen = true,
            _ => return Err(format!("event {number} was delivered more than once").into()),
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.count == self.is_seen.len()
    }
}
