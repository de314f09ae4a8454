//! What is personal in an event: sealed for the person that it is about before the event is written.

mod sealed;
mod value;

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::{Codec, EncodeError};

pub use self::sealed::{Opened, Sealed};
#[doc(hidden)]
pub use self::value::{PersonalField, PersonalValue, Sealable};

/// A value about a person (the *subject*), of an event or of a cell of state: written as a ciphertext, and readable
/// only for who has the subject's key.
///
/// It is made of a value (`"Elm Street 1".to_owned().into()`) and put into a field that is
/// `#[event(personal = subject)]`: publishing the event seals it. What is read is *masked*, until it is opened; handlers
/// of an app whose engine has keys get their events opened. Once the subject was forgotten, nothing opens it.
///
/// It can be written only after it was sealed: there is no way by which the value itself gets into a log, a dead
/// letter, a cell of state, a snapshot or an answer. `{:?}` does not show it either.
///
/// ```
/// use ensue::{Disclosure, Personal};
///
/// let street: Personal<String> = "Elm Street 1".to_owned().into();
/// assert_eq!(street.known().unwrap(), "Elm Street 1");
/// assert!(matches!(street.disclosure(), Disclosure::Known(_)));
/// assert_eq!(format!("{street:?}"), "Personal(known)");
/// assert!(ensue::Codec::Json.encode(&street).is_err(), "it is not sealed");
/// ```
#[derive(Clone)]
pub struct Personal<T>(Form<T>);

#[derive(Clone)]
enum Form<T> {
    /// Not sealed yet.
    Plain(T),
    Sealed {
        sealed: Sealed,
        disclosure: Disclosure<T>,
    },
}

/// How much of a [`Personal`] value there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure<T> {
    /// The value.
    Known(T),
    /// It is there, and was not opened: this program has no keys, or not this one.
    Masked,
    /// Its subject was forgotten: no one can open it any more.
    Forgotten,
}

impl<T> Personal<T> {
    /// How much of it there is to see.
    pub fn disclosure(&self) -> Disclosure<&T> {
        match &self.0 {
            Form::Plain(value) => Disclosure::Known(value),
            Form::Sealed { disclosure, .. } => match disclosure {
                Disclosure::Known(value) => Disclosure::Known(value),
                Disclosure::Masked => Disclosure::Masked,
                Disclosure::Forgotten => Disclosure::Forgotten,
            },
        }
    }

    /// The value, if it can be seen.
    pub fn known(&self) -> Option<&T> {
        match self.disclosure() {
            Disclosure::Known(value) => Some(value),
            Disclosure::Masked | Disclosure::Forgotten => None,
        }
    }

    /// The value, if it can be seen.
    pub fn into_known(self) -> Option<T> {
        match self.0 {
            Form::Plain(value)
            | Form::Sealed {
                disclosure: Disclosure::Known(value),
                ..
            } => Some(value),
            Form::Sealed { .. } => None,
        }
    }

    /// Whether its subject was forgotten, as far as was seen when it was opened.
    pub fn is_forgotten(&self) -> bool {
        matches!(self.disclosure(), Disclosure::Forgotten)
    }

    /// The ciphertext, if it was sealed.
    pub fn sealed(&self) -> Option<&Sealed> {
        match &self.0 {
            Form::Plain(_) => None,
            Form::Sealed { sealed, .. } => Some(sealed),
        }
    }
}

impl<T> From<T> for Personal<T> {
    fn from(value: T) -> Self {
        Self(Form::Plain(value))
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.disclosure() {
            Disclosure::Known(_) => "Personal(known)",
            Disclosure::Masked => "Personal(masked)",
            Disclosure::Forgotten => "Personal(forgotten)",
        })
    }
}

/// Values that can be seen are equal as the values are; others as their ciphertexts.
impl<T: PartialEq> PartialEq for Personal<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self.known(), other.known()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.sealed() == other.sealed(),
            _ => false,
        }
    }
}

impl<T> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        match self.sealed() {
            Some(sealed) => sealed.serialize(serializer),
            None => Err(S::Error::custom(
                "a personal value is not sealed: put it into a field that is `#[event(personal = …)]` of an event that \
                 is published, or seal it with `Engine::seal` or `Context::seal`",
            )),
        }
    }
}

impl<'de, T> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Without its text: what was not sealed may be what somebody meant to hide.
        let sealed = Sealed::deserialize(deserializer)
            .map_err(|_| D::Error::custom("a personal value is not one that was sealed"))?;
        Ok(Self(Form::Sealed {
            sealed,
            disclosure: Disclosure::Masked,
        }))
    }
}

impl<T> Sealable for Personal<T>
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    fn plain(&self) -> Option<Result<Vec<u8>, EncodeError>> {
        match &self.0 {
            Form::Plain(value) => Some(Codec::MessagePack.encode(value)),
            Form::Sealed { .. } => None,
        }
    }

    fn is_masked(&self) -> bool {
        matches!(self.disclosure(), Disclosure::Masked)
    }

    fn sealed(&self) -> Option<&Sealed> {
        Self::sealed(self)
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        let form = std::mem::replace(
            &mut self.0,
            Form::Sealed {
                sealed,
                disclosure: Disclosure::Masked,
            },
        );
        let Form::Sealed { sealed, disclosure } = &mut self.0 else {
            return;
        };
        *disclosure = match form {
            _ if sealed.is_blank() => Disclosure::Forgotten,
            Form::Plain(value) => Disclosure::Known(value),
            Form::Sealed { disclosure, .. } => disclosure,
        };
    }

    fn put_opened(&mut self, opened: Opened) -> bool {
        let Form::Sealed { disclosure, .. } = &mut self.0 else {
            return true;
        };
        *disclosure = match opened {
            Opened::Known(bytes) => match Codec::MessagePack.decode(&bytes) {
                Ok(value) => Disclosure::Known(value),
                Err(_) => return false,
            },
            Opened::Masked => Disclosure::Masked,
            Opened::Forgotten => Disclosure::Forgotten,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(subject: &str) -> Sealed {
        Sealed::new(subject, 3, vec![1, 2, 255])
    }

    #[test]
    fn what_is_not_sealed_cannot_be_written_by_any_codec() {
        let plain: Personal<String> = "Elm Street".to_owned().into();
        for codec in Codec::ALL {
            let error = codec.encode(&plain).unwrap_err().to_string();
            assert!(
                error.contains("not sealed") && !error.contains("Elm"),
                "{error}"
            );
            assert!(codec.encode(&vec![Some(plain.clone())]).is_err());
        }
        assert_eq!(format!("{plain:?}"), "Personal(known)");
    }

    #[test]
    fn a_sealed_value_is_read_masked_by_every_codec_and_written_as_it_was() {
        let mut value: Personal<String> = "Elm Street".to_owned().into();
        value.put_sealed(sealed("u-1"));
        assert_eq!(value.known().unwrap(), "Elm Street");
        for codec in Codec::ALL {
            let bytes = codec.encode(&value).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("Elm"));
            let mut read: Personal<String> = codec.decode(&bytes).unwrap();
            assert_eq!(read.disclosure(), Disclosure::Masked);
            assert_eq!(codec.encode(&read).unwrap(), bytes);
            let plain = Codec::MessagePack.encode("Elm Street").unwrap();
            assert!(
                !read.put_opened(Opened::Known(vec![1])),
                "a number is no text"
            );
            assert!(read.put_opened(Opened::Known(plain)));
            assert_eq!(read, value);
            assert!(read.put_opened(Opened::Forgotten));
            assert!(read.is_forgotten() && read.into_known().is_none());
        }
    }

    #[test]
    fn what_was_never_sealed_is_not_read_as_a_personal_value() {
        for json in [
            r#""Elm Street""#,
            "null",
            "{}",
            r#"{"subject":"u-1","key":1,"sealed":"*"}"#,
        ] {
            let error = Codec::Json.decode::<Personal<String>>(json.as_bytes());
            let error = error.unwrap_err().to_string();
            assert!(!error.contains("Elm"), "{error}");
        }
    }
}
