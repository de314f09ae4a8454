//! What the specification says, sentence by sentence.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod syntax;

mod errors;
mod functions;
mod operators;

mod limits;

use std::collections::BTreeMap;

use ensue_cesql::{ErrorKind, Expression, Value};

fn event() -> BTreeMap<&'static str, Value<'static>> {
    BTreeMap::from([
        ("specversion", "1.0".into()),
        ("id", "e-1".into()),
        ("source", "/shop".into()),
        ("type", "order.created".into()),
        ("subject", "o-17".into()),
        ("time", "2026-11-26T08:00:00Z".into()),
        ("sequence", "41".into()),
        ("hop", 5.into()),
        ("flag", true.into()),
        ("word", "TRUE".into()),
        ("empty", "".into()),
        ("x2", "with a digit".into()),
    ])
}

/// Every expression gives the value, and the error of this kind or none.
fn give<'v>(cases: &[(&str, impl Into<Value<'v>> + Clone)], error: Option<ErrorKind>) {
    let event = event();
    for (text, value) in cases {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let evaluation = expression.evaluate(&event);
        let kind = evaluation.error.as_ref().map(|error| error.kind());
        let expected = value.clone().into();
        assert_eq!((&evaluation.value, kind), (&expected, error), "{text}");
        // What is written is the same expression.
        let written = expression.to_string();
        assert_eq!(
            Expression::parse(&written).unwrap(),
            expression,
            "{text}: {written}"
        );
    }
}

fn are<'v>(cases: &[(&str, impl Into<Value<'v>> + Clone)]) {
    give(cases, None);
}

fn fail<'v>(error: ErrorKind, cases: &[(&str, impl Into<Value<'v>> + Clone)]) {
    give(cases, Some(error));
}

fn refused(texts: &[&str]) {
    for text in texts {
        let error = Expression::parse(text);
        assert!(error.is_err(), "`{text}` is not refused: {error:?}");
    }
}
