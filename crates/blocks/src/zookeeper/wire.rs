//! Messages to ZooKeeper, and its answers: big-endian numbers, texts and bytes with their lengths.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest answer: a node has at most 1 MiB, and the names of the children of a lock are short.
pub(super) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The xid of what no one has asked for.
pub(super) const EVENT: i32 = -1;
pub(super) const PING: i32 = -2;

pub(super) const CREATE: i32 = 15;
pub(super) const CREATE_CONTAINER: i32 = 19;
pub(super) const EXISTS: i32 = 3;
pub(super) const SET_DATA: i32 = 5;
pub(super) const CHILDREN: i32 = 8;
pub(super) const PINGS: i32 = 11;
pub(super) const CHECK: i32 = 13;
pub(super) const MULTI: i32 = 14;
pub(super) const CLOSE: i32 = -11;

/// What every node may be used for by everybody.
const ALL: i32 = 31;
/// The bytes of what is known of a node.
const STAT: usize = 68;

/// How long a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Persistent,
    /// Until its session ends; a number is added to its name.
    EphemeralSequential,
    /// Until some time after its last child is gone.
    Container,
}

/// A node that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) path: String,
    /// The number of the transaction that made it.
    pub(crate) czxid: i64,
}

/// A part of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    /// The node is there.
    Check(&'a str),
    Set(&'a str, &'a [u8]),
    Create(&'a str, &'a [u8]),
}

/// A message that is being written.
pub(super) struct Message(BytesMut);

impl Message {
    /// Room for the length comes first.
    pub(super) fn bare() -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_i32(0);
        Self(bytes)
    }

    pub(super) fn request(xid: i32, kind: i32) -> Self {
        Self::bare().int(xid).int(kind)
    }

    /// The first message on a connection: who we were before, if we were.
    pub(super) fn hello(seen: i64, timeout_millis: i32, session: i64, password: &[u8]) -> Self {
        let hello = Self::bare().int(0).long(seen).int(timeout_millis);
        hello.long(session).bytes(password).boolean(false)
    }

    pub(super) fn int(mut self, number: i32) -> Self {
        self.0.put_i32(number);
        self
    }

    pub(super) fn long(mut self, number: i64) -> Self {
        self.0.put_i64(number);
        self
    }

    pub(super) fn boolean(mut self, value: bool) -> Self {
        self.0.put_u8(value.into());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0
            .put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.put_slice(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn create(self, path: &str, data: &[u8], mode: Mode) -> Self {
        let flags = match mode {
            Mode::Persistent => 0,
            Mode::EphemeralSequential => 3,
            Mode::Container => 4,
        };
        let named = self.text(path).bytes(data);
        // One rule: everybody may do everything.
        let ruled = named.int(1).int(ALL).text("world").text("anyone");
        ruled.int(flags)
    }

    pub(super) fn operations(mut self, operations: &[Operation<'_>]) -> Self {
        for operation in operations {
            self = match *operation {
                Operation::Check(path) => self.header(CHECK, false).text(path).int(-1),
                Operation::Set(path, data) => {
                    self.header(SET_DATA, false).text(path).bytes(data).int(-1)
                }
                Operation::Create(path, data) => {
                    self.header(CREATE, false)
                        .create(path, data, Mode::Persistent)
                }
            };
        }
        self.header(-1, true)
    }

    fn header(self, kind: i32, is_end: bool) -> Self {
        self.int(kind).boolean(is_end).int(-1)
    }

    pub(super) fn finish(mut self) -> Bytes {
        let length = self.0.len().saturating_sub(4);
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        for (place, byte) in self.0.iter_mut().zip(length) {
            *place = byte;
        }
        self.0.freeze()
    }
}

/// The next whole answer of what was received.
pub(super) fn frame(received: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
    let Some(length) = received.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Malformed)?;
    if length > FRAME_BYTES_MAX {
        return Err(Malformed);
    }
    if received.len() < length + 4 {
        return Ok(None);
    }
    received.advance(4);
    Ok(Some(received.split_to(length).freeze()))
}

/// An answer that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// An answer that is being read.
pub(super) struct Answer(pub(super) Bytes);

impl Answer {
    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        self.0.try_get_i32().map_err(|_| Malformed)
    }

    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        self.0.try_get_i64().map_err(|_| Malformed)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.0.try_get_u8().map_err(|_| Malformed)? != 0)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        // Nothing at all is written as -1.
        let length = usize::try_from(self.int()?.max(0)).map_err(|_| Malformed)?;
        if length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Malformed)
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        let count = self.int()?.max(0);
        (0..count).map(|_| self.text()).collect()
    }

    /// What is known of a node: which transaction has made it.
    pub(super) fn czxid(&mut self) -> Result<i64, Malformed> {
        let mut stat = self.0.split_to(self.0.len().min(STAT));
        stat.try_get_i64().map_err(|_| Malformed)
    }

    /// The code of the first failure of a transaction, if it has failed.
    pub(super) fn failure(mut self) -> Result<Option<i32>, Malformed> {
        let mut failed = None;
        loop {
            let (kind, is_end, _) = (self.int()?, self.boolean()?, self.int()?);
            if is_end {
                return Ok(failed);
            }
            match kind {
                // Of those that did not fail themselves it says 0.
                -1 => failed = failed.or(Some(self.int()?).filter(|code| *code != 0)),
                SET_DATA => drop(self.czxid()?),
                CREATE => {
                    self.text()?;
                    self.czxid()?;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_it_is_whole() {
        let whole = Message::request(7, PINGS).finish();
        let mut received = BytesMut::new();
        for byte in whole.iter().take(whole.len() - 1) {
            received.put_u8(*byte);
            assert_eq!(frame(&mut received), Ok(None));
        }
        received.put_u8(11);
        let mut answer = Answer(frame(&mut received).unwrap().unwrap());
        assert_eq!((answer.int(), answer.int()), (Ok(7), Ok(PINGS)));
        assert_eq!(answer.int(), Err(Malformed));
    }

    #[test]
    fn a_length_that_cannot_be_is_no_reason_to_wait() {
        for length in [-2_i32, i32::MAX] {
            let mut received = BytesMut::from(&length.to_be_bytes()[..]);
            assert_eq!(frame(&mut received), Err(Malformed));
        }
    }

    #[test]
    fn a_text_is_no_longer_than_the_answer() {
        let mut answer = Answer(Bytes::from_static(&[0, 0, 0, 9, b'x']));
        assert_eq!(answer.text(), Err(Malformed));
    }
}
