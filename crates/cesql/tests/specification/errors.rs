//! Sections 1.2, 3.2 and 3.3: filters, attributes and errors.

use ensue_cesql::ErrorKind::{
    self, Cast, FunctionEvaluation, Generic, Math, MissingAttribute, MissingFunction,
};
use ensue_cesql::Expression;

use crate::{are, event, fail};

#[test]
fn only_the_boolean_true_without_an_error_passes_a_filter() {
    let passes = |text: &str| Expression::parse(text).unwrap().matches(&event());
    assert!(passes("TRUE"));
    assert!(passes("flag"));
    for text in [
        "FALSE",
        "1",
        "'true'",
        "word",
        "hop",
        "missing",
        "NOT 10",
        "NO_SUCH()",
    ] {
        assert!(!passes(text), "{text}");
    }
}

#[test]
fn attributes_keep_their_types() {
    are(&[("hop", 5)]);
    are(&[("flag", true)]);
    are(&[
        ("sequence", "41"),
        ("time", "2026-11-26T08:00:00Z"),
        ("source", "/shop"),
        ("empty", ""),
    ]);
}

#[test]
fn a_missing_attribute_gives_the_zero_value_of_what_it_is_used_in() {
    fail(
        MissingAttribute,
        &[
            ("missing", false),
            ("(missing)", false),
            ("TRUE AND (missing = '')", false),
            ("missing = missing", false),
            ("missing != 1", false),
            ("1 <> missing", false),
            ("missing < 1", false),
            ("NOT missing", false),
            ("missing LIKE '%'", false),
            ("missing NOT LIKE 'x'", false),
            ("missing IN (1)", false),
            ("missing NOT IN (1)", false),
            ("1 NOT IN (missing)", false),
            ("missing OR TRUE", false),
            ("missing XOR TRUE", false),
            ("BOOL(missing)", false),
            ("IS_INT(missing)", false),
        ],
    );
    fail(
        MissingAttribute,
        &[
            ("missing * 5", 0),
            ("1 / missing", 0),
            ("missing / 0", 0),
            ("missing % 0", 0),
            ("-missing", 0),
            ("5 + missing", 0),
            ("5 + (missing + 1)", 0),
            ("LENGTH(missing)", 0),
            ("INT(missing)", 0),
        ],
    );
    fail(
        MissingAttribute,
        &[
            ("UPPER(missing)", ""),
            ("CONCAT('a', missing)", ""),
            ("LEFT(missing, -1)", ""),
        ],
    );
}

#[test]
fn the_first_error_is_the_one_that_is_said() {
    fail(
        Math,
        &[("1 / 0 + missing", 0), ("ABS(1 / 0) + NO_SUCH()", 0)],
    );
    fail(MissingAttribute, &[("missing + 1 / 0", 0)]);
    fail(MissingFunction, &[("NO_SUCH(missing, 1 / 0)", false)]);
    fail(Cast, &[("('x' + 1) / 0", 0)]);
}

#[test]
fn an_operator_whose_operand_failed_returns_its_zero_value() {
    fail(
        Math,
        &[
            ("1 != 1 / 0", false),
            ("NOT (1 / 0 = 1)", false),
            ("(1 / 0) IN (0)", false),
            ("(1 / 0) LIKE '0'", false),
            ("0 NOT IN (1 / 0)", false),
        ],
    );
    fail(
        Math,
        &[("10 + 1 / 0", 0), ("-(1 / 0)", 0), ("LENGTH(1 / 0)", 0)],
    );
    fail(Math, &[("CONCAT('a', 1 / 0)", "")]);
    fail(FunctionEvaluation, &[("LENGTH(LEFT('abc', -1))", 0)]);
    fail(FunctionEvaluation, &[("UPPER(LEFT('abc', -1))", "")]);
}

#[test]
fn every_kind_of_error_has_its_official_name() {
    use ErrorKind::Parse;
    let kinds = [
        (Parse, "parse"),
        (Math, "math"),
        (Cast, "cast"),
        (MissingAttribute, "missingAttribute"),
        (MissingFunction, "missingFunction"),
        (FunctionEvaluation, "functionEvaluation"),
        (Generic, "generic"),
    ];
    for (kind, name) in kinds {
        assert_eq!(kind.to_string(), name);
    }
}
