//! State of a service, typed and versioned.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::event::{Codec, DecodeError, EncodeError};

/// What comes first in a cell whose type has a version above 1: a byte that MessagePack never uses.
const MARK: u8 = 0xc1;
/// The mark, and the version in big endian.
const HEADER_BYTES: usize = 3;
/// Version 0, which no type has: the value is JSON, of version 1.
const JSON_HEADER: [u8; HEADER_BYTES] = [MARK, 0, 0];

/// A cell of a service's state: one value for each topic and key of the events that it handles.
///
/// Derive it. A type that changes gets a new `version`, keeps the type before as `previous` and says
/// with [`From`] what that means today, as events do; cells are converted when they are read, and
/// written as they are now.
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(State, Serialize, Deserialize)]
/// #[state(name = "last-reading")]
/// struct LastReadingV1 { celsius: f64 }
///
/// #[derive(State, Serialize, Deserialize)]
/// #[state(name = "last-reading", version = 2, previous = LastReadingV1)]
/// struct LastReading { kelvin: f64, readings: u64 }
///
/// impl From<LastReadingV1> for LastReading {
///     fn from(old: LastReadingV1) -> Self {
///         Self { kelvin: old.celsius + 273.15, readings: 1 }
///     }
/// }
/// ```
///
/// A cell that cannot be read, because its type changed without a version or because a newer program
/// wrote it, makes no dead letters: the event waits, and its key with it, and is tried again every
/// now and then (at the longest wait of the handler's backoff) until a program can read the cell; a handler
/// with a single attempt cannot wait, and makes one. Each
/// time says so in the log. A handler that knows better handles the [`StateError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cell of state",
    note = "derive it: `#[derive(State, Serialize, Deserialize)]` and `#[state(name = \"…\")]`, or use \
            `named_state` and `set_named_state` for a value of any type"
)]
pub trait State: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The cell's name, within its group.
    const NAME: &'static str;

    /// The version of the type, from 1.
    const VERSION: u16 = 1;

    /// Reads what was written as `version` of this cell.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not what the type expects, or when the version is one
    /// that this program does not know.
    fn decode(version: u16, codec: Codec, bytes: &[u8]) -> Result<Self, DecodeError> {
        if version == Self::VERSION {
            codec.decode(bytes)
        } else {
            Err(DecodeError::unknown_version(
                Self::NAME,
                version,
                Self::VERSION,
            ))
        }
    }
}

/// The bytes of a cell. Version 1 has no header: it is what a value of any type is written as.
pub(crate) fn encode<T: State>(state: &T) -> Result<Bytes, EncodeError> {
    let value = Codec::MessagePack.encode(state)?;
    if T::VERSION <= 1 {
        return Ok(value.into());
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + value.len());
    bytes.push(MARK);
    bytes.extend(T::VERSION.to_be_bytes());
    bytes.extend(value);
    Ok(bytes.into())
}

/// The bytes of a cell that is JSON, as programs in other languages write it.
#[doc(hidden)]
pub fn json_cell(json: &str) -> Bytes {
    [&JSON_HEADER[..], json.as_bytes()].concat().into()
}

/// The JSON of a cell that was written as such.
#[doc(hidden)]
pub fn cell_json(bytes: &[u8]) -> Option<&str> {
    let json = bytes.strip_prefix(&JSON_HEADER[..])?;
    std::str::from_utf8(json).ok()
}

/// The cell of these bytes.
pub(crate) fn decode<T: State>(bytes: &[u8]) -> Result<T, StateError> {
    let (version, codec, value) = match bytes {
        [MARK, 0, 0, json @ ..] => (1, Codec::Json, json),
        [MARK, high, low, value @ ..] => {
            let version = u16::from_be_bytes([*high, *low]);
            (version, Codec::MessagePack, value)
        }
        value => (1, Codec::MessagePack, value),
    };
    T::decode(version, codec, value).map_err(|error| {
        StateError(Reason::Unreadable(Unreadable {
            cell: T::NAME,
            error,
        }))
    })
}

/// Why a cell of state could not be read.
#[derive(Debug)]
pub struct StateError(Reason);

#[derive(Debug)]
enum Reason {
    Engine(Error),
    Unreadable(Unreadable),
}

/// Marks, among the causes of an error, a cell that this program cannot read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    cell: &'static str,
    error: DecodeError,
}

impl StateError {
    /// Whether there is a cell that this program cannot read; otherwise the engine could not be
    /// asked.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.0, Reason::Unreadable(_))
    }
}

impl From<Error> for StateError {
    fn from(error: Error) -> Self {
        Self(Reason::Engine(error))
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state of the key cannot be read")
    }
}

impl StdError for StateError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match &self.0 {
            Reason::Engine(error) => error,
            Reason::Unreadable(unreadable) => unreadable,
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the cell `{}` is not of the type that this program has: {}",
            self.cell, self.error
        )
    }
}

impl StdError for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EngineError;
    use crate::failure::Failure;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct One(u32);

    impl State for One {
        const NAME: &'static str = "cell";
    }

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Two(String, u32);

    impl State for Two {
        const NAME: &'static str = "cell";
        const VERSION: u16 = 2;

        fn decode(version: u16, codec: Codec, bytes: &[u8]) -> Result<Self, DecodeError> {
            match version {
                1 => One::decode(version, codec, bytes).map(|One(n)| Self("old".into(), n)),
                _ => codec.decode(bytes),
            }
        }
    }

    #[test]
    fn a_cell_is_read_by_its_own_type_and_by_a_later_one() {
        let (one, two) = (
            encode(&One(7)).unwrap(),
            encode(&Two("new".into(), 8)).unwrap(),
        );
        assert_eq!(decode::<One>(&one).unwrap(), One(7));
        assert_eq!(decode::<Two>(&one).unwrap(), Two("old".into(), 7));
        assert_eq!(decode::<Two>(&two).unwrap(), Two("new".into(), 8));
        // What is written without a version is version 1.
        let named = Codec::MessagePack.encode(&One(9)).unwrap();
        assert_eq!(decode::<One>(&named).unwrap(), One(9));
    }

    #[test]
    fn a_cell_that_another_language_wrote_as_json_is_read_by_its_type() {
        let cell = json_cell("7");
        assert_eq!(decode::<One>(&cell).unwrap(), One(7));
        assert_eq!(decode::<Two>(&cell).unwrap(), Two("old".into(), 7));
        assert_eq!(cell_json(&cell), Some("7"));
        let own = encode(&One(49)).unwrap();
        assert_eq!((&own[..], cell_json(&own)), (&b"1"[..], None));
        assert!(decode::<One>(&json_cell("\"x\"")).is_err());
    }

    #[test]
    fn a_cell_of_a_newer_or_another_type_waits_whatever_takes_its_error_in() {
        let newer = encode(&Two("new".into(), 8)).unwrap();
        let other = Codec::MessagePack.encode(&"text").unwrap();
        for bytes in [&newer[..], &other] {
            let error = || decode::<One>(bytes).unwrap_err();
            assert!(error().is_unreadable());
            let in_anyhow = anyhow::Error::from(error()).context("at start");
            for failure in [Failure::from(error()), Failure::from(in_anyhow)] {
                assert!(
                    failure.waits_for_another_program() && !failure.is_reject(),
                    "{failure}"
                );
                assert_eq!(
                    failure.to_string().matches("is not of the type").count(),
                    1,
                    "{failure}"
                );
            }
        }
        let closed = Failure::from(StateError::from(Error::Engine(EngineError::Closed)));
        assert!(!closed.waits_for_another_program());
    }
}
