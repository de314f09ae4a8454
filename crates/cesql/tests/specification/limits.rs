//! What the specification leaves to its engines: limits.

use ensue_cesql::ErrorKind::Generic;
use ensue_cesql::{
    EXPRESSION_BYTES_MAX, Expression, NESTING_MAX, ParseProblem, TEXT_BYTES_MAX, Value,
};

use crate::event;

#[test]
fn a_long_expression_is_refused() {
    let longest = format!("'{}'", "a".repeat(EXPRESSION_BYTES_MAX - 2));
    assert!(Expression::parse(&longest).is_ok());
    let error = Expression::parse(&format!("{longest} ")).unwrap_err();
    assert_eq!(
        error.problem(),
        &ParseProblem::TooLong(EXPRESSION_BYTES_MAX + 1)
    );
}

#[test]
fn a_deeply_nested_expression_is_refused_and_a_deep_one_needs_little_stack() {
    let nested = |begin: &str, end: &str, levels: usize| {
        format!("{}TRUE{}", begin.repeat(levels), end.repeat(levels))
    };
    let shapes = [
        ("(", ")"),
        ("NOT ", ""),
        ("-", ""),
        ("ABS(", ")"),
        ("1 IN (", ")"),
        ("TRUE AND 1 = 0 + 1 * (", ") IN (1)"),
    ];
    let all = move || {
        for (begin, end) in shapes {
            let deepest = Expression::parse(&nested(begin, end, NESTING_MAX)).unwrap();
            let _ = deepest.evaluate(&event());
            let written = Expression::parse(&deepest.to_string());
            // Parentheses that are not needed are not written.
            assert_eq!(written.unwrap(), deepest);
            let error = Expression::parse(&nested(begin, end, NESTING_MAX + 1)).unwrap_err();
            assert_eq!(error.problem(), &ParseProblem::TooDeep, "{begin}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    thread.spawn(all).unwrap().join().unwrap();
}

/// Signs right before digits belong to the literal: the last of these is no level of its own, and what
/// is written must not need one more.
#[test]
fn the_deepest_negation_of_a_number_can_be_written_and_parsed() {
    let deepest = format!("{} 5", "-".repeat(NESTING_MAX));
    for text in [deepest, format!("{}-0", "-".repeat(NESTING_MAX))] {
        let parsed = Expression::parse(&text).unwrap();
        let written = parsed.to_string();
        assert_eq!(
            Expression::parse(&written).as_ref(),
            Ok(&parsed),
            "{written}"
        );
    }
}

#[test]
fn as_many_operators_as_fit_are_evaluated_without_depth() {
    let sum = format!("1{}", "+1".repeat(EXPRESSION_BYTES_MAX / 2 - 1));
    let tests = format!("1{}", " IN(1)".repeat(1_000));
    for (text, value) in [(sum, Value::Integer(4096)), (tests, Value::Boolean(true))] {
        let expression = Expression::parse(&text).unwrap();
        assert_eq!(expression.evaluate(&event()).value, value);
    }
}

#[test]
fn an_evaluation_makes_no_more_text_than_it_may() {
    let long = "x".repeat(TEXT_BYTES_MAX / 2);
    let event = [("long", Value::from(long.as_str()))];
    let kind = |text: &str| {
        let expression = Expression::parse(text).unwrap();
        let evaluation = expression.evaluate(&event).into_owned();
        evaluation.error.map(|error| error.kind())
    };
    assert_eq!(kind("LENGTH(CONCAT(long, long))"), None);
    assert_eq!(kind("LENGTH(CONCAT(long, long, '!'))"), Some(Generic));
    assert_eq!(kind("LENGTH(CONCAT_WS('!', long, long))"), Some(Generic));
    assert_eq!(
        kind("CONCAT(UPPER(long), LOWER(long), '!') = ''"),
        Some(Generic)
    );
    // What is only looked at or cut costs nothing.
    assert_eq!(
        kind("LEFT(long, 9) = RIGHT(long, 9) AND TRIM(long) = long AND long = long"),
        None
    );
}
