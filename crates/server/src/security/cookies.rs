//! Cookies: reading one, and writing those that only this server reads.

use std::time::Duration;

use axum::http::{HeaderMap, header};

/// A cookie of this server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookie {
    name: &'static str,
    /// When a browser sends it with requests that another site causes.
    same_site: &'static str,
}

/// The session of a person.
pub(super) const SESSION: Cookie = Cookie {
    name: "ensue",
    same_site: "Strict",
};

/// A login that has begun: a browser comes back from the site of the provider with it.
pub(super) const ATTEMPT: Cookie = Cookie {
    name: "ensue-login",
    same_site: "Lax",
};

/// Their names over TLS.
pub(crate) const SESSION_COOKIE: &str = "__Host-ensue";
pub(crate) const ATTEMPT_COOKIE: &str = "__Host-ensue-login";

/// What keeps other hosts and plain HTTP from setting a cookie of this name.
const PREFIX: &str = "__Host-";

impl Cookie {
    fn full_name(self, is_secure: bool) -> String {
        let prefix = if is_secure { PREFIX } else { "" };
        format!("{prefix}{}", self.name)
    }

    /// The value that a request has, if it has exactly one.
    pub(super) fn read(self, headers: &HeaderMap, is_secure: bool) -> Option<&str> {
        let wanted = self.full_name(is_secure);
        let values = headers.get_all(header::COOKIE).into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let pairs = texts.flat_map(|text| text.split(';'));
        let mut found = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == wanted);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// What sets it.
    pub(super) fn set(self, value: &str, lasts: Duration, is_secure: bool) -> String {
        let (name, same_site) = (self.full_name(is_secure), self.same_site);
        let secure = if is_secure { "; Secure" } else { "" };
        let seconds = lasts.as_secs();
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}")
    }

    /// What removes it.
    pub(super) fn clear(self, is_secure: bool) -> String {
        self.set("", Duration::ZERO, is_secure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_wherever_it_is_and_only_if_there_is_one() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, value.parse().unwrap());
            }
            SESSION.read(&headers, true).map(str::to_owned)
        };
        for values in [
            &["__Host-ensue=x"][..],
            &["a=b; __Host-ensue=x;c=d"],
            &["a=b", "__Host-ensue=x"],
        ] {
            assert_eq!(read(values).as_deref(), Some("x"), "{values:?}");
        }
        for values in [
            &[][..],
            &["ensue=x"],
            &["__Host-ensue-login=x"],
            &["__Host-ensue=x; __Host-ensue=y"],
            &["__Host-ensue"],
        ] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }

    #[test]
    fn cookies_are_set_by_the_names_that_are_published() {
        assert_eq!(SESSION.full_name(true), SESSION_COOKIE);
        assert_eq!(ATTEMPT.full_name(true), ATTEMPT_COOKIE);
    }

    #[test]
    fn a_cookie_is_for_this_host_alone_and_not_for_scripts() {
        let set = SESSION.set("x", Duration::from_secs(60), true);
        assert_eq!(
            set,
            "__Host-ensue=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        let set = ATTEMPT.set("x", Duration::from_secs(60), false);
        assert_eq!(
            set,
            "ensue-login=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
        );
        assert!(
            SESSION
                .clear(true)
                .starts_with("__Host-ensue=; Path=/; Max-Age=0;")
        );
    }
}
