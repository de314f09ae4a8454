//! How a log without gaps is read from a server that may have lost some of it.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;

use bytes::Bytes;

use crate::error::{EngineError, Error, Result};
use crate::shared_log::Message;

/// The last message that was read. A server that comes back without it, or with another one in its
/// place, has lost what it acknowledged, and numbers new messages like those it lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) sequence: u64,
    hash: u64,
}

impl Witness {
    fn of(message: &Message) -> Self {
        Self {
            sequence: message.sequence,
            // Compared within this process only.
            hash: foldhash::fast::FixedState::default().hash_one(&message.body),
        }
    }

    /// Compares it to what the server has there now.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`].
    pub(crate) fn check(&self, found: Option<Bytes>) -> Result<()> {
        let sequence = self.sequence;
        let found = found.map(|body| Self::of(&Message { sequence, body }));
        match found {
            Some(found) if found == *self => Ok(()),
            Some(_) => Err(lost(format!(
                "message {sequence} is another one than was read before"
            ))),
            None => Err(lost(format!("message {sequence}, which was read, is gone"))),
        }
    }
}

/// How far a log was read, and what was fetched beyond that. Sequence numbers have no gaps, and the
/// first is 1.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// Where the next read goes on, if it goes on.
    next: u64,
    ahead: VecDeque<Message>,
    pub(crate) witness: Option<Witness>,
}

impl Cursor {
    /// Goes to `from`; says whether that is somewhere else than where it stood.
    pub(crate) fn seek(&mut self, from: u64) -> bool {
        let from = from.max(1);
        let is_elsewhere = self.next != from;
        if is_elsewhere {
            self.ahead.clear();
            self.next = from;
        }
        is_elsewhere
    }

    /// The first message that was not fetched yet.
    pub(crate) fn due(&self) -> u64 {
        self.next + self.ahead.len() as u64
    }

    pub(crate) fn has_some(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Adds what was fetched from [`Self::due`] on.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when some are missing.
    pub(crate) fn add(&mut self, fetched: impl IntoIterator<Item = Message>) -> Result<()> {
        for message in fetched {
            let due = self.due();
            if message.sequence != due {
                self.ahead.clear();
                return Err(lost(format!(
                    "message {due} was due, {} came",
                    message.sequence
                )));
            }
            self.witness = Some(Witness::of(&message));
            self.ahead.push_back(message);
        }
        Ok(())
    }

    /// Takes at least one, if there is one, and as many as fit.
    pub(crate) fn take(&mut self, bytes_max: usize) -> Vec<Message> {
        let mut taken = Vec::new();
        let mut bytes = 0_usize;
        while let Some(message) = self.ahead.front() {
            bytes = bytes.saturating_add(message.body.len());
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.extend(self.ahead.pop_front());
        }
        self.next += taken.len() as u64;
        taken
    }
}

/// Splits messages into parts that the server takes at once: at least one message each.
pub(crate) fn parts(messages: &[Bytes], count_max: usize, bytes_max: usize) -> Vec<&[Bytes]> {
    let mut parts = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fit = rest.iter().take(count_max).take_while(|message| {
            bytes = bytes.saturating_add(message.len());
            bytes <= bytes_max
        });
        let (part, after) = rest.split_at(fit.count().max(1).min(rest.len()));
        parts.push(part);
        rest = after;
    }
    parts
}

fn lost(what: String) -> Error {
    Error::Engine(EngineError::Corrupt(format!(
        "the server lost messages that it had acknowledged: {what}; restore them, or start with \
         another namespace"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, body: &'static str) -> Message {
        Message {
            sequence,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn what_was_fetched_is_taken_in_pieces() {
        let mut cursor = Cursor::default();
        assert!(cursor.seek(0));
        cursor
            .add([message(1, "aaa"), message(2, "bb"), message(3, "c")])
            .unwrap();
        assert_eq!(cursor.take(0), [message(1, "aaa")]);
        assert!(!cursor.seek(2));
        assert_eq!(cursor.due(), 4);
        assert_eq!(cursor.take(3), [message(2, "bb"), message(3, "c")]);
        assert_eq!(cursor.take(3), []);
        assert!(cursor.seek(2));
        assert_eq!(cursor.due(), 2);
    }

    #[test]
    fn a_gap_is_corrupt() {
        let mut cursor = Cursor::default();
        cursor.seek(5);
        let error = cursor.add([message(5, "a"), message(7, "b")]).unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
    }

    #[test]
    fn a_witness_knows_its_message() {
        let mut cursor = Cursor::default();
        cursor.seek(1);
        cursor.add([message(1, "a")]).unwrap();
        let witness = cursor.witness.unwrap();
        witness.check(Some(Bytes::from_static(b"a"))).unwrap();
        assert!(witness.check(Some(Bytes::from_static(b"b"))).is_err());
        assert!(witness.check(None).is_err());
    }

    #[test]
    fn parts_hold_what_fits_and_at_least_one() {
        let bodies: Vec<_> = [3, 1, 9, 1, 1, 1]
            .map(|length| Bytes::from(vec![0; length]))
            .into();
        let lengths: Vec<_> = parts(&bodies, 2, 4).iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 1, 2, 1]);
        assert_eq!(parts(&[], 2, 4), [] as [&[Bytes]; 0]);
    }
}
