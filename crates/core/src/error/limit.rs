//! Something is beyond a limit.

/// Something is beyond a limit that has a name. Nothing happened.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} is {value}, the limit `{limit}` is {max}; {advice}")]
pub struct LimitError {
    /// What is too much.
    pub what: String,
    /// How much it is.
    pub value: u64,
    /// The name of the limit.
    pub limit: &'static str,
    /// How much it may be.
    pub max: u64,
    /// What to do about it.
    pub advice: &'static str,
}
