//! Why a text is not a configuration.

use crate::address::ListenAddress;
use crate::range::OutOfRange;

/// Why a text is not a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not TOML, or a value has the wrong type.
    #[error("the configuration cannot be read: {0}")]
    Malformed(String),
    /// It has a setting that does not exist.
    #[error("there is no setting `{name}`; {advice}")]
    Unknown {
        /// The setting, with its section.
        name: String,
        /// What was meant, or what there is.
        advice: String,
    },
    /// A setting cannot be what it is, or names a file that cannot be used.
    #[error("the setting `{name}` {problem}")]
    Invalid {
        /// The setting, with its section.
        name: String,
        /// Why, and what to do.
        problem: String,
    },
    /// Other machines would reach a server that does not protect itself.
    #[error(
        "`{address}` is not a loopback address: every machine that reaches it could read and write \
         everything, as {lacking}; add it, listen on 127.0.0.1 or [::1], or let everyone in with \
         `insecure_let_everyone_in`"
    )]
    Exposed {
        /// The address.
        address: ListenAddress,
        /// What is not there.
        lacking: &'static str,
    },
    /// A value is out of its range.
    #[error("the setting `{name}` is {value}; it must be between {min} and {max}")]
    Range {
        /// The setting, with its section.
        name: &'static str,
        /// Its value.
        value: String,
        /// The smallest allowed.
        min: String,
        /// The largest allowed.
        max: String,
    },
    /// A webhook cannot be as it is said.
    #[error("the webhook `{name}` cannot be: {problem}")]
    Webhook {
        /// Its name.
        name: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
}

/// The error of a setting.
pub(super) fn invalid(name: &str, problem: String) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        problem,
    }
}

impl From<OutOfRange> for ConfigError {
    fn from(refused: OutOfRange) -> Self {
        let OutOfRange {
            name,
            value,
            min,
            max,
        } = refused;
        Self::Range {
            name,
            value,
            min,
            max,
        }
    }
}
