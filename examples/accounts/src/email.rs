//! E-mail addresses, in one form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::is_hidden;

/// The most that an address may have (RFC 5321).
pub const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;

/// An e-mail address in lower case, so that no two users have one address in two forms.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

/// It is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected is an e-mail address such as ada@example.com, of at most {EMAIL_BYTES_MAX} bytes"
)]
pub struct NotAnEmail;

impl Email {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = NotAnEmail;

    fn from_str(text: &str) -> Result<Self, NotAnEmail> {
        let text = text.trim().to_lowercase();
        let (local, domain) = text.rsplit_once('@').ok_or(NotAnEmail)?;
        let is_local = !local.is_empty()
            && local.len() <= LOCAL_BYTES_MAX
            && !local.contains(|c: char| {
                c.is_whitespace() || is_hidden(c) || "@<>\",;:\\[]()".contains(c)
            });
        let is_label = |label: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.chars().all(is_part)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_domain = domain.contains('.') && domain.split('.').all(is_label);
        if is_local && is_domain && text.len() <= EMAIL_BYTES_MAX {
            Ok(Self(text))
        } else {
            Err(NotAnEmail)
        }
    }
}

/// Addresses are personal: what is debugged may be logged.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        let email: Email = " Ada.Lovelace+x@Example.COM ".parse().unwrap();
        assert_eq!(email.as_str(), "ada.lovelace+x@example.com");
        assert!(!format!("{email:?}").contains("ada"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@com",
            "a b@example.com",
            "a@b@example.com",
            "ada@-x.com",
            "ada@x..com",
            "ada@exa mple.com",
            "ada\n@example.com",
            "ada\u{200b}@example.com",
            "\u{202e}ada@example.com",
            &long,
        ] {
            assert_eq!(text.parse::<Email>(), Err(NotAnEmail), "{text}");
        }
    }
}
