//! Why something personal could not be sealed or opened.

use crate::event::EncodeError;

/// Why what is personal could not be sealed, opened or forgotten. None of them has the value in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersonalError {
    /// The subject was forgotten: nothing is sealed for it any more.
    #[error(
        "the subject `{subject}` was forgotten, and nothing personal is kept for it any more; a person who comes \
         back needs another id"
    )]
    Forgotten {
        /// The subject.
        subject: String,
    },
    /// There are no keys to seal or forget with.
    #[error(
        "the engine has no keys for what is personal in `{event_type}`: open it with keys \
         (`Engine::with_keys`, with the feature `personal`)"
    )]
    NoKeys {
        /// The type of the event, or what else it is.
        event_type: String,
    },
    /// This names no subject.
    #[error("`{subject}` cannot be a subject: expected 1 to {bytes_max} bytes of text")]
    Subject {
        /// What it was.
        subject: String,
        /// How long it may be.
        bytes_max: usize,
    },
    /// A value was sealed for another subject than that of the field it is in.
    #[error(
        "the field `{field}` is of the subject `{expected}`, and what is in it was sealed for `{found}`"
    )]
    OtherSubject {
        /// The field.
        field: &'static str,
        /// Whose the field is.
        expected: String,
        /// Whose the value is.
        found: String,
    },
    /// A ciphertext is not what a key has made: it was changed, or belongs to another subject or key.
    #[error(
        "what was sealed with key {key} of the subject `{subject}` is damaged: it is not what that key has made"
    )]
    Damaged {
        /// The subject.
        subject: String,
        /// The number of the key.
        key: u32,
    },
    /// A value cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What was sealed is not of the type that it is read as.
    #[error("what was sealed for the subject `{subject}` is of another type than it is read as")]
    OtherType {
        /// The subject.
        subject: String,
    },
    /// The keys cannot be reached, or not be kept.
    #[error(
        "the keys of what is personal cannot be used: {problem}; nothing was written in the clear"
    )]
    Keys {
        /// What went wrong.
        problem: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}
