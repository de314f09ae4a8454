use crate::error::{Error, Result};
use crate::expect::Expect;
use crate::hash::{HashKey, KeyHash};
use crate::record::{BATCH_BYTES_LIMIT, Layout, Record};

/// Records that are appended together, in one piece or not at all.
///
/// [`Batch::push`] encodes and checksums at once, on the caller's thread, so that submitting is
/// little more than a copy.
///
/// ```
/// use ensue_log::{Batch, Expect, Record};
/// # fn main() -> Result<(), ensue_log::Error> {
/// let mut batch = Batch::new();
/// batch.expect("accounts", b"alice", Expect::Absent); // appended only when alice is new
/// batch.push(&Record { kind: 0, id: Some(1), topic: "accounts", key: b"alice", body: b"opened" })?;
/// assert_eq!(batch.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) expects: Vec<Expectation>,
    /// The largest encoded record.
    pub(crate) largest: usize,
    /// Whether any record has an id.
    pub(crate) ids: bool,
}

/// What submitting needs to know of one encoded record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Its padded length.
    pub(crate) bytes: u32,
    pub(crate) crc: u32,
    /// Filled in by submit, which knows the log's hash key.
    pub(crate) hash: KeyHash,
}

#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) topic: String,
    pub(crate) key: Vec<u8>,
    pub(crate) expect: Expect,
    /// Filled in by submit.
    pub(crate) hash: KeyHash,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `bytes` encoded bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when its topic, key or body passes a hard limit; the batch is then
    /// unchanged. The limits of [`Options`](crate::Options) are checked by submit.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        let start = self.bytes.len();
        let crc = record.encode(&mut self.bytes)?;
        let bytes = self.bytes.len() - start;
        if self.bytes.len() > BATCH_BYTES_LIMIT {
            let total = self.bytes.len();
            self.bytes.truncate(start);
            let bytes_max = BATCH_BYTES_LIMIT;
            return Err(Error::TooLarge {
                what: "the batch",
                bytes: total,
                bytes_max,
            });
        }
        // Fits: it is at most BATCH_BYTES_LIMIT.
        self.slots.push(Slot {
            bytes: bytes as u32,
            crc,
            hash: KeyHash::default(),
        });
        self.largest = self.largest.max(bytes);
        self.ids |= record.id.is_some();
        Ok(())
    }

    /// Keeps the first `len` records. What the batch [expects](Batch::expect) stays.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.slots.len() {
            return;
        }
        let gone = self.slots.drain(len..);
        let bytes: usize = gone.map(|slot| slot.bytes as usize).sum();
        self.bytes.truncate(self.bytes.len().saturating_sub(bytes));
        let lengths = self.slots.iter().map(|slot| slot.bytes as usize);
        self.largest = lengths.max().unwrap_or(0);
        let ids = self.records().any(|(_, layout, _)| layout.id.is_some());
        self.ids = ids;
    }

    /// Makes the batch conditional: it is appended only when, at that moment, every expectation
    /// holds. Looking at the key may read an index file. A batch whose every record is a
    /// duplicate succeeds without looking, so that a retry does not conflict with itself.
    pub fn expect(&mut self, topic: &str, key: &[u8], expect: Expect) {
        let hash = KeyHash::default();
        let (topic, key) = (topic.to_owned(), key.to_owned());
        self.expects.push(Expectation {
            topic,
            key,
            expect,
            hash,
        });
    }

    /// Whether it is appended only when an [`Expect`] holds.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        !self.expects.is_empty()
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The encoded size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Fills in the hashes, outside of any lock.
    pub(crate) fn hash_keys(&mut self, hash_key: HashKey) {
        let mut rest = self.bytes.as_slice();
        for slot in &mut self.slots {
            let (bytes, after) = rest
                .split_at_checked(slot.bytes as usize)
                .unwrap_or_default();
            rest = after;
            if let Some(layout) = Layout::read(bytes) {
                slot.hash = hash_key.hash(layout.topic(bytes), layout.key(bytes));
            }
        }
        for expectation in &mut self.expects {
            expectation.hash = hash_key.hash(expectation.topic.as_bytes(), &expectation.key);
        }
    }

    /// Each record's slot, layout and bytes.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&Slot, Layout, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.slots.iter().map_while(move |slot| {
            let (bytes, after) = rest.split_at_checked(slot.bytes as usize)?;
            rest = after;
            Some((slot, Layout::read(bytes)?, bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bodies: &[(&str, Option<u128>)]) -> Batch {
        let mut batch = Batch::new();
        for (body, id) in bodies {
            let (id, body) = (*id, body.as_bytes());
            let record = Record {
                kind: 1,
                id,
                topic: "t",
                key: b"k",
                body,
            };
            batch.push(&record).unwrap();
        }
        batch
    }

    #[test]
    fn what_is_cut_off_leaves_no_trace() {
        let all = [("small", None), ("a larger one", Some(7)), ("x", None)];
        for len in 0..=4 {
            let mut cut = of(&all);
            cut.truncate(len);
            let wanted = of(&all[..len.min(all.len())]);
            assert_eq!((cut.len(), &cut.bytes), (wanted.len(), &wanted.bytes));
            assert_eq!((cut.largest, cut.ids), (wanted.largest, wanted.ids));
        }
    }
}
