//! What a client may subscribe to, through whichever door it comes.

use ensue_core::event::{check_name, control_in};

use crate::problem::{Code, Problem};

/// The most topics, and the most types, that a client subscribes to.
pub(crate) const TOPICS_MAX: usize = 100;
pub(crate) const TYPES_MAX: usize = 1_000;

/// What is wrong with a subscription.
#[derive(Debug)]
pub(crate) struct Unfit {
    detail: String,
    /// The limit that it is beyond, if it is one.
    max: Option<usize>,
}

impl Unfit {
    fn because(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            max: None,
        }
    }

    /// The problem, by the code of the door.
    pub(crate) fn problem(self, code: Code) -> Problem {
        let problem = Problem::new(code, self.detail);
        match self.max {
            Some(max) => problem.with("max", max.into()),
            None => problem,
        }
    }
}

/// Refuses a name that no group may have; how long it is the engine says.
pub(crate) fn check_group(group: &str) -> Result<(), Unfit> {
    match control_in(group) {
        None => Ok(()),
        Some(found) => Err(Unfit::because(format!(
            "the name of the group contains U+{:04X}, a control character; leave it out",
            u32::from(found)
        ))),
    }
}

/// Refuses topics, of which a subscription has some.
pub(crate) fn check_topics(count: usize) -> Result<(), Unfit> {
    if count == 0 {
        return Err(Unfit::because(
            "`topics` is empty; name a topic, or `>` for all",
        ));
    }
    within("topics", count, TOPICS_MAX)
}

/// Refuses types, of which there are some where they are given at all.
pub(crate) fn check_types(types: Option<&[String]>) -> Result<(), Unfit> {
    let Some(types) = types else {
        return Ok(());
    };
    if types.is_empty() {
        return Err(Unfit::because(
            "`types` is empty; leave it out for every type",
        ));
    }
    within("types", types.len(), TYPES_MAX)?;
    for name in types {
        check_name("type", name).map_err(|error| Unfit::because(format!("`types`: {error}")))?;
    }
    Ok(())
}

fn within(what: &str, count: usize, max: usize) -> Result<(), Unfit> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Unfit {
        detail: format!("the number of `{what}` is {count}; expected 1 to {max}"),
        max: Some(max),
    })
}
