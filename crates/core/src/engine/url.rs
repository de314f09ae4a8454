//! An engine's URL, taken apart, and the slips that are likely in one.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::schemes::known_schemes;
use crate::error::{Error, OpenError, Result};
use crate::time::parse_duration;

/// An engine's URL, taken apart: `scheme:rest?name=value&…`.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Url {
    pub scheme: String,
    pub rest: String,
    pub options: Vec<(String, String)>,
}

impl Url {
    #[doc(hidden)]
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason: &str| {
            Error::Open(OpenError::Url {
                url: redact(text),
                reason: reason.to_owned(),
                known: known_schemes(),
            })
        };
        if text.trim() != text {
            return Err(bad("there are blanks around it"));
        }
        let (scheme, after) = text
            .split_once(':')
            .ok_or_else(|| bad("it has no scheme"))?;
        let (rest, query) = after.split_once('?').unwrap_or((after, ""));
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            rest: rest.to_owned(),
            options: Vec::new(),
        };
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let Some((name, value)) = option.split_once('=') else {
                return Err(url.invalid(format!("the option `{option}` has no value")));
            };
            if url.options.iter().any(|(known, _)| known == name) {
                return Err(url.invalid(format!("it has the option `{name}` twice")));
            }
            url.options.push((name.to_owned(), value.to_owned()));
        }
        Ok(url)
    }

    #[doc(hidden)]
    pub fn invalid(&self, reason: String) -> Error {
        Error::Open(OpenError::Url {
            url: self.to_string(),
            reason,
            known: known_schemes(),
        })
    }

    #[doc(hidden)]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The directory of an embedded log.
    #[doc(hidden)]
    pub fn directory(&self) -> Result<PathBuf> {
        // `embedded:./data`, `embedded:/data` and `embedded:///data` are all written.
        let path = match self.rest.strip_prefix("//") {
            Some(path) if path.is_empty() || path.starts_with(['/', '.']) => path,
            Some(path) => {
                return Err(self.invalid(format!(
                    "what follows `//` is a host, and an embedded log has none; write \
                     `embedded:./{path}` or `embedded:/{path}`"
                )));
            }
            None => &self.rest,
        };
        self.check_slips(path)?;
        let path = self.decoded(path)?;
        if path.contains('\0') {
            return Err(self.invalid("a path cannot contain NUL".to_owned()));
        }
        let path = PathBuf::from(path);
        let is_root = path.is_absolute() && !names_anything(&path);
        if is_root {
            return Err(self.invalid(
                "it puts the log into the root directory; write `embedded:./data` for a directory \
                 below the current one"
                    .to_owned(),
            ));
        }
        Ok(path)
    }

    /// Paths that are always a mistake.
    fn check_slips(&self, path: &str) -> Result<()> {
        let reason = if path.is_empty() {
            "it names no directory".to_owned()
        } else if path.starts_with(['~', '$']) {
            format!(
                "`{path}` was to be replaced by the shell, which leaves URLs alone; write the path"
            )
        } else if path.contains("://") {
            "it is a URL in a URL; one of them is enough".to_owned()
        } else if path.trim() != path {
            "the path begins or ends with a blank; write it as `%20` if it is meant".to_owned()
        } else {
            return Ok(());
        };
        Err(self.invalid(reason))
    }

    /// `text`, a part of the URL, with its `%` escapes (RFC 3986) resolved.
    #[doc(hidden)]
    pub fn decoded(&self, text: &str) -> Result<String> {
        // What decodes takes a broken escape for a `%` that is meant.
        let is_escape = |piece: &str| {
            let digits = piece.as_bytes().first_chunk::<2>();
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        if !text.split('%').skip(1).all(is_escape) {
            return Err(self.invalid(
                "a `%` begins two hexadecimal digits; write a percent sign as `%25`".to_owned(),
            ));
        }
        match percent_decode_str(text).decode_utf8() {
            Ok(decoded) => Ok(decoded.into_owned()),
            Err(_) => Err(self.invalid("what its `%` escapes stand for is not UTF-8".to_owned())),
        }
    }

    /// The option of that name, which is a length of time.
    #[doc(hidden)]
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let read = self.option(name).map(parse_duration).transpose();
        read.map_err(|error| self.invalid(format!("the option `{name}`: {error}")))
    }

    /// A log in memory belongs to its opener alone.
    #[doc(hidden)]
    pub fn check_nameless(&self) -> Result<()> {
        match self.rest.as_str() {
            "" | "//" => Ok(()),
            _ => Err(self.invalid(
                "a log in memory has no name: each `memory:` is a log of its own; share the engine"
                    .to_owned(),
            )),
        }
    }

    #[doc(hidden)]
    pub fn check_options(&self, known: &[&str]) -> Result<()> {
        let is_glued = |name: &&&str| self.rest.contains(&format!("&{name}="));
        if let Some(name) = known.iter().find(is_glued) {
            return Err(self.invalid(format!(
                "the options begin with `?`: write `?{name}=…`, not `&{name}=…`"
            )));
        }
        let unknown = self
            .options
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        match unknown {
            None => Ok(()),
            Some((name, _)) => Err(self.invalid(format!(
                "it has no option `{name}`; `{}` takes {}",
                self.scheme,
                known.join(", ")
            ))),
        }
    }
}

impl fmt::Display for Url {
    /// The scheme and the rest, without a password and without options, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&format!("{}:{}", self.scheme, self.rest)))
    }
}

/// Whether a path leads anywhere below its root.
fn names_anything(path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth > 0
}

/// The directory that an embedded log's URL names; `None` for every other engine.
///
/// # Errors
/// [`OpenError::Url`] when the URL names none, or one that is most likely a slip.
pub fn directory_of(url: &str) -> Result<Option<PathBuf>> {
    let url = Url::parse(url)?;
    match url.scheme.as_str() {
        "embedded" => url.directory().map(Some),
        _ => Ok(None),
    }
}

/// Replaces the password of `scheme://user:password@host`.
fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let Some((login, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_reach_errors() {
        let url = Url::parse("nats://bob:hunter2@host:4222").unwrap();
        assert!(!url.invalid("bad".into()).to_string().contains("hunter2"));
    }
}
