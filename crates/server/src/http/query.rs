//! The query of a URL: names that are known, each once, decoded.

use std::marker::PhantomData;
use std::ops::Deref;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::closest::closest;
use crate::openapi::{Input, Operation, Parameter, Place, QUERY};
use crate::problem::{Code, Problem};

/// The most parameters of one query.
const PARAMETERS_MAX: usize = 64;

/// The parameters that the queries of a route may have.
pub(super) trait Parameters {
    /// In lists, as some are those of several routes.
    const KNOWN: &'static [&'static [Parameter]];
}

/// The query of a request, of which `P` says what it may have.
#[derive(Debug)]
pub(super) struct Asked<P>(Query, PhantomData<P>);

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl<P> Deref for Asked<P> {
    type Target = Query;

    fn deref(&self) -> &Query {
        &self.0
    }
}

impl<S: Sync, P: Parameters> FromRequestParts<S> for Asked<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(Query::of(&parts.uri, P::KNOWN)?, PhantomData))
    }
}

impl<P: Parameters> Input for Asked<P> {
    fn describe(operation: &mut Operation) {
        for parameter in P::KNOWN.iter().copied().flatten() {
            operation.takes(Place::Query, parameter);
        }
        operation.refuses(QUERY);
    }
}

impl Query {
    /// The parameters of `uri`, which are among `known`, each once unless it may be there several times.
    pub(super) fn of(uri: &Uri, known: &[&[Parameter]]) -> Result<Self, Problem> {
        let text = uri.query().unwrap_or_default();
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let mut all = known.iter().copied().flatten();
            let Some(parameter) = all.find(|known| known.name() == name) else {
                return Err(unknown(&name, known));
            };
            let name = parameter.name();
            if !parameter.is_repeatable() && found.iter().any(|(found, _)| *found == name) {
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

fn unknown(name: &str, known: &[&[Parameter]]) -> Problem {
    let known = known.iter().copied().flatten().map(Parameter::name);
    let known: Vec<&str> = known.collect();
    let advice = match closest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "there are none here".to_owned(),
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
    use crate::openapi::Kind;

    const KNOWN: [Parameter; 2] = [
        Parameter::new("topic", Kind::Topic, "The topic."),
        Parameter::new("expect", Kind::Expectation, "What is expected."),
    ];

    fn of(query: &str) -> Result<Query, String> {
        let uri = format!("/v1/events?{query}").parse().unwrap();
        Query::of(&uri, &[&KNOWN]).map_err(|problem| problem.to_json().to_string())
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
