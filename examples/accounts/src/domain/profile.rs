//! What a user shows to everybody.

use ensue::Personal;
use serde::{Deserialize, Serialize};

use crate::text::{is_hidden, is_hidden_in_text};

/// How many characters a name has at the most.
pub const NAME_CHARACTERS_MAX: usize = 80;
/// How many characters users say of themselves at the most.
pub const ABOUT_CHARACTERS_MAX: usize = 1_000;

/// What a user shows to everybody, as it is kept: sealed for the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// What the user is called.
    pub name: Personal<String>,
    /// What the user says of that.
    pub about: Personal<String>,
}

/// The same, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownProfile {
    /// What the user is called.
    pub name: String,
    /// What the user says of that.
    pub about: String,
}

/// What is wrong with a part of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileProblem {
    /// There is no name.
    #[error("a name has at least one character that can be seen")]
    NoName,
    /// The name is too long.
    #[error("a name has at most {NAME_CHARACTERS_MAX} characters")]
    NameTooLong,
    /// The text is too long.
    #[error("a text has at most {ABOUT_CHARACTERS_MAX} characters")]
    AboutTooLong,
    /// It would not look like what it is.
    #[error(
        "there is a character in it that cannot be seen, or that changes the direction of what is around it"
    )]
    Hidden,
}

impl Profile {
    /// What can be shown of it: nothing, once its user was forgotten.
    pub fn shown(&self) -> Option<ShownProfile> {
        let (name, about) = self.name.known().zip(self.about.known())?;
        let (name, about) = (name.clone(), about.clone());
        Some(ShownProfile { name, about })
    }
}

impl From<ShownProfile> for Profile {
    fn from(shown: ShownProfile) -> Self {
        Self {
            name: shown.name.into(),
            about: shown.about.into(),
        }
    }
}

impl ShownProfile {
    /// A name that can be shown, without spaces around it.
    ///
    /// # Errors
    /// See [`ProfileProblem`].
    pub fn name(text: &str) -> Result<String, ProfileProblem> {
        let name = text.trim();
        if name.is_empty() {
            Err(ProfileProblem::NoName)
        } else if name.chars().count() > NAME_CHARACTERS_MAX {
            Err(ProfileProblem::NameTooLong)
        } else if name.chars().any(is_hidden) {
            Err(ProfileProblem::Hidden)
        } else {
            Ok(name.to_owned())
        }
    }

    /// A text that can be shown; it may have several lines.
    ///
    /// # Errors
    /// See [`ProfileProblem`].
    pub fn about(text: &str) -> Result<String, ProfileProblem> {
        let about = text.trim();
        if about.chars().count() > ABOUT_CHARACTERS_MAX {
            Err(ProfileProblem::AboutTooLong)
        } else if about.chars().any(is_hidden_in_text) {
            Err(ProfileProblem::Hidden)
        } else {
            Ok(about.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_profile_can_be_shown() {
        let (name, about) = (ShownProfile::name, ShownProfile::about);
        assert_eq!(name(" Ada ").as_deref(), Ok("Ada"));
        assert_eq!(name(" \t"), Err(ProfileProblem::NoName));
        assert_eq!(name(&"ä".repeat(81)), Err(ProfileProblem::NameTooLong));
        assert_eq!(about("one\ntwo").as_deref(), Ok("one\ntwo"));
        assert_eq!(about(&"x".repeat(1_001)), Err(ProfileProblem::AboutTooLong));
    }

    #[test]
    fn what_would_look_like_something_else_is_refused() {
        for name in [
            "a\u{0}b",
            "\u{200b}",
            "Ada\u{200b}",
            "\u{202e}adA",
            "A\u{2066}da",
            "Ada\u{feff}",
        ] {
            let refused = ShownProfile::name(name);
            assert_eq!(refused, Err(ProfileProblem::Hidden), "{name:?}");
        }
        for about in ["\u{1b}[31m", "one \u{202e} two", "\u{2067}three"] {
            let refused = ShownProfile::about(about);
            assert_eq!(refused, Err(ProfileProblem::Hidden), "{about:?}");
        }
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        assert!(ShownProfile::about(family).is_ok());
    }
}
