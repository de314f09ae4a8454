//! The query of a URL: names that are known, each once, decoded.

use std::str::FromStr;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use crate::closest::closest;
use crate::problem::{Code, Problem};

/// The most parameters of one query.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// The parameters of `uri`, which are among `known`, each once.
    pub(super) fn of(uri: &Uri, known: &[&'static str]) -> Result<Self, Problem> {
        Self::with_several(uri, known, &[])
    }

    /// The same, with parameters that may be there several times.
    pub(super) fn with_several(
        uri: &Uri,
        known: &[&'static str],
        several: &[&str],
    ) -> Result<Self, Problem> {
        let text = uri.query().unwrap_or_default();
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(unknown(&name, known));
            };
            if !several.contains(name) && found.iter().any(|(found, _)| found == name) {
                return Err(invalid(name, "is there twice; give it once"));
            }
            if found.len() == PARAMETERS_MAX {
                return Err(invalid(name, "is one too many"));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// The value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(found, _)| *found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter as a `T`, which is written as `expected` says.
    pub(super) fn value<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        let value = self.text(name).map(|text| {
            let value = text.parse();
            value.map_err(|_| invalid(name, &format!("is `{}`; {expected}", shown(text))))
        });
        value.transpose()
    }
}

fn decoded(text: &str) -> Result<String, Problem> {
    // As forms are encoded.
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::new(
            Code::InvalidParameter,
            "the query is not UTF-8 once it is percent-decoded",
        )),
    }
}

fn unknown(name: &str, known: &[&'static str]) -> Problem {
    let advice = match closest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here are {}", known.join(", ")),
    };
    Problem::new(
        Code::UnknownParameter,
        format!("there is no parameter `{}`; {advice}", shown(name)),
    )
}

/// A parameter cannot be what it is.
pub(super) fn invalid(name: &str, problem: &str) -> Problem {
    Problem::new(
        Code::InvalidParameter,
        format!("the parameter `{name}` {problem}"),
    )
    .with("parameter", name.into())
}

/// As much of a text as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<Query, String> {
        let uri = format!("/v1/events?{query}").parse().unwrap();
        Query::of(&uri, &["topic", "expect"]).map_err(|problem| problem.to_json().to_string())
    }

    #[test]
    fn parameters_are_decoded() {
        let query = of("topic=a%2Fb+c%C3%BC&expect=7&").unwrap();
        assert_eq!(query.text("topic"), Some("a/b cü"));
        assert_eq!(query.value::<u64>("expect", "a number").unwrap(), Some(7));
        assert_eq!(of("topic").unwrap().text("topic"), Some(""));
        assert_eq!(of("").unwrap().text("topic"), None);
    }

    #[test]
    fn what_is_unknown_or_twice_or_malformed_is_refused_by_its_name() {
        for (query, part) in [
            ("topics=a", "did you mean `topic`"),
            ("colour=a", "known here are topic, expect"),
            ("topic=a&topic=b", "`topic` is there twice"),
            ("topic=%ff", "not UTF-8"),
        ] {
            let error = of(query).unwrap_err();
            assert!(error.contains(part), "{query}: {error}");
        }
        let query = of("expect=x").unwrap();
        let error = query
            .value::<u64>("expect", "expected a number")
            .unwrap_err();
        let error = error.to_json().to_string();
        assert!(
            error.contains("`expect` is `x`; expected a number"),
            "{error}"
        );
    }
}
