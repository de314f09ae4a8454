//! Why there is no configuration, or not a new one.

/// Why there is no configuration, or why a new one is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A source cannot be read, or has nothing; it may have later.
    #[error("the configuration cannot be read from {from}: {reason}")]
    Away {
        /// The source, without secrets.
        from: String,
        /// Why.
        reason: String,
    },
    /// What a source has is not written as it should be.
    #[error("the configuration in {from} is not {format}: {reason}")]
    Malformed {
        /// The source, without secrets.
        from: String,
        /// What it should be.
        format: &'static str,
        /// Where, and why.
        reason: String,
    },
    /// A setting is missing, unknown, or not of its type.
    #[error("the setting `{setting}` cannot be used: {reason}")]
    Setting {
        /// Its name, with those of the tables around it.
        setting: String,
        /// Why, without its value.
        reason: String,
    },
    /// The validation has refused the configuration as a whole.
    #[error("the configuration is refused: {reason}")]
    Refused {
        /// What the validation says.
        reason: String,
    },
    /// A source cannot be like this.
    #[error("`{what}` cannot be a source of configuration: {reason}")]
    Source {
        /// What was named.
        what: String,
        /// Why not, and what can be.
        reason: String,
    },
}

impl ConfigError {
    /// Whether it may be better later without anybody writing anything.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}
