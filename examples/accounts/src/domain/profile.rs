//! What a user shows to everybody.

use serde::{Deserialize, Serialize};

/// How many characters a name has at the most.
pub const NAME_CHARACTERS_MAX: usize = 80;
/// How many characters users say of themselves at the most.
pub const ABOUT_CHARACTERS_MAX: usize = 1_000;

/// What a user shows to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
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
    #[error("control characters cannot be shown")]
    Control,
}

impl Profile {
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
        } else if name.chars().any(char::is_control) {
            Err(ProfileProblem::Control)
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
        } else if about.chars().any(|c| c.is_control() && c != '\n') {
            Err(ProfileProblem::Control)
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
        assert_eq!(Profile::name(" Ada ").as_deref(), Ok("Ada"));
        assert_eq!(Profile::name(" \t"), Err(ProfileProblem::NoName));
        assert_eq!(Profile::name("a\u{0}b"), Err(ProfileProblem::Control));
        assert_eq!(
            Profile::name(&"ä".repeat(81)),
            Err(ProfileProblem::NameTooLong)
        );
        assert_eq!(Profile::about("one\ntwo").as_deref(), Ok("one\ntwo"));
        assert_eq!(Profile::about("\u{1b}[31m"), Err(ProfileProblem::Control));
        assert_eq!(
            Profile::about(&"x".repeat(1_001)),
            Err(ProfileProblem::AboutTooLong)
        );
    }
}
