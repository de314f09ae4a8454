//! The settings of what is personal in events.

use ensue::TopicPattern;
use serde::{Deserialize, Serialize};

use super::field::Field;

/// The most entries, and the most fields of one.
const PERSONAL_MAX: usize = 1000;
const FIELDS_MAX: usize = 100;

/// What of the events of some topics is personal: callers see it whose role says `personal = true`, and
/// others see the event without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Personal {
    /// The topics.
    pub topic: TopicPattern,
    /// JSON pointers into the payload (`/address/street`; `*` stands for every element), and names of
    /// extension attributes.
    pub fields: Vec<String>,
}

/// Checks what is personal, as far as it can be without events.
pub(crate) fn check(personal: &[Personal], has_authentication: bool) -> Result<(), String> {
    if !personal.is_empty() && !has_authentication {
        let problem = "masks fields, and without `[auth]` everyone who reaches the server is its owner, who \
                       sees everything";
        return Err(problem.to_owned());
    }
    if personal.len() > PERSONAL_MAX {
        return Err(format!("has more than {PERSONAL_MAX} entries"));
    }
    for entry in personal {
        let topic = &entry.topic;
        if entry.fields.is_empty() || entry.fields.len() > FIELDS_MAX {
            return Err(format!(
                "has `{topic}` with no fields, or with more than {FIELDS_MAX}"
            ));
        }
        for field in &entry.fields {
            let parsed = field.parse::<Field>();
            parsed.map_err(|problem| format!("of `{topic}` has a field that {problem}"))?;
        }
    }
    Ok(())
}
