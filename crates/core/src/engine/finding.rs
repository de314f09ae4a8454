//! What weakens an engine's promises where it is: what `ensue doctor` says.

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `durability`.
    pub aspect: String,
    /// What was found.
    pub found: String,
    /// Which promise it weakens, and how; `None` is all well.
    pub weakens: Option<String>,
    /// How to mend it.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding that weakens nothing.
    pub fn well(aspect: &str, found: impl Into<String>) -> Self {
        Self {
            aspect: aspect.to_owned(),
            found: found.into(),
            weakens: None,
            advice: None,
        }
    }

    /// A finding that weakens a promise.
    pub fn weak(
        aspect: &str,
        found: impl Into<String>,
        weakens: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            weakens: Some(weakens.into()),
            advice: Some(advice.into()),
            ..Self::well(aspect, found)
        }
    }
}
