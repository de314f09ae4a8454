//! A ciphertext, and what it takes to open it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a personal value is written as: whose it is, which of the subject's keys opens it, and the ciphertext. In
/// JSON it is `{"subject": "u-1", "key": 1, "sealed": "BASE64"}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    subject: String,
    /// From 1; 0 is what was sealed for a subject that was forgotten before.
    key: u32,
    #[serde(rename = "sealed", serialize_with = "write", deserialize_with = "read")]
    bytes: Vec<u8>,
}

impl Sealed {
    /// What key number `key` of `subject` has made of something. For those who write a [`Vault`](crate::Vault).
    pub fn new(subject: impl Into<String>, key: u32, bytes: Vec<u8>) -> Self {
        Self {
            subject: subject.into(),
            key,
            bytes,
        }
    }

    /// What stands for a value of a subject that was forgotten before it was sealed: nothing opens it.
    #[doc(hidden)]
    pub fn blank(subject: impl Into<String>) -> Self {
        Self::new(subject, 0, Vec::new())
    }

    /// Whether it is such a value.
    #[doc(hidden)]
    pub fn is_blank(&self) -> bool {
        self.key == 0
    }

    /// Whose it is: an id of yours, as it is written in the clear.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The number of the subject's key that opens it.
    pub fn key(&self) -> u32 {
        self.key
    }

    /// The ciphertext, in the form of the vault that made it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("subject", &self.subject)
            .field("key", &self.key)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// What a ciphertext holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Opened {
    /// This.
    Known(Vec<u8>),
    /// The key is not among those that this program has.
    Masked,
    /// The subject was forgotten.
    Forgotten,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(_) => "Known",
            Self::Masked => "Masked",
            Self::Forgotten => "Forgotten",
        })
    }
}

fn write<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Not with the text: what is no ciphertext may be what somebody meant to hide.
    BASE64
        .decode(text)
        .map_err(|_| D::Error::custom("`sealed` is not base64"))
}
