//! Section 3.4: the operators, and the casts of 3.7.

use ensue_cesql::ErrorKind::{Cast, Math, MissingAttribute};
use ensue_cesql::{Expression, Value};

use crate::{are, fail, refused};

#[test]
fn not_negates_booleans_and_what_is_cast_to_them() {
    are(&[
        ("NOT TRUE", false),
        ("NOT NOT TRUE", true),
        ("NOT 'false'", true),
        ("NOT word", false),
        ("NOT (hop = 5)", false),
    ]);
    fail(
        Cast,
        &[
            ("NOT 'x'", true),
            ("NOT ''", true),
            ("NOT 10", true),
            ("NOT 0", true),
        ],
    );
}

#[test]
fn minus_negates_integers_and_what_is_cast_to_them() {
    are(&[
        ("-hop", -5),
        ("--hop", 5),
        ("-sequence", -41),
        ("-TRUE", -1),
        ("-'+3'", -3),
        ("---1", -1),
    ]);
    fail(Cast, &[("-'x'", 0), ("-''", 0)]);
    fail(Math, &[("--2147483648", 0)]);
}

#[test]
fn values_of_one_type_are_compared() {
    are(&[
        ("1 = 1", true),
        ("1 = 2", false),
        ("1 != 2", true),
        ("1 <> 1", false),
        ("TRUE = TRUE", true),
        ("TRUE <> FALSE", true),
        ("'a' = 'a'", true),
        ("'a' = 'A'", false),
        ("'a' != 'A'", true),
        ("1 < 2", true),
        ("2 < 2", false),
        ("2 <= 2", true),
        ("3 > 2", true),
        ("2 >= 3", false),
        ("-1 < 0", true),
    ]);
}

#[test]
fn the_right_operand_says_to_what_the_left_one_is_cast() {
    are(&[
        ("sequence = 41", true),
        ("'041' = 41", true),
        ("41 = sequence", true),
        ("41 = '041'", false),
        ("'TRUE' = true", true),
        ("true = 'TRUE'", false),
        ("TRUE = 'true'", true),
        ("TRUE = \"true\" AND FALSE = \"false\"", true),
        ("TRUE = \"TRUE\" OR FALSE = \"FALSE\"", false),
        ("TRUE = 1", true),
        ("TRUE = 2", false),
        ("2 = TRUE", true),
        ("0 = FALSE", true),
    ]);
    fail(
        Cast,
        &[
            ("'x' = 1", false),
            ("'x' != 1", false),
            ("'x' = TRUE", false),
            ("'x' <> FALSE", false),
        ],
    );
}

#[test]
fn order_is_of_integers_only() {
    are(&[
        ("'10' > '9'", true),
        ("TRUE > FALSE", true),
        ("sequence >= hop", true),
    ]);
    fail(
        Cast,
        &[
            ("'a' < 'b'", false),
            ("1 < 'b'", false),
            ("'a' >= 1", false),
        ],
    );
}

#[test]
fn arithmetic_truncates_towards_zero_and_casts() {
    are(&[
        ("5 / 3", 1),
        ("-5 / 3", -1),
        ("5 / -3", -1),
        ("-5 / -3", 1),
        ("5 % 3", 2),
        ("-5 % 3", -2),
        ("5 % -3", 2),
        ("-5 % -3", -2),
        ("4 * '2'", 8),
        ("TRUE + TRUE", 2),
        ("sequence + 10", 51),
        ("7 - hop", 2),
    ]);
    fail(Cast, &[("'x' + 1", 0), ("1 * ''", 0), ("1 - '1.0'", 0)]);
    fail(Math, &[("5 / 0", 0), ("5 % 0", 0), ("5 / FALSE", 0)]);
}

#[test]
fn a_result_beyond_32_bits_is_an_error() {
    are(&[
        ("2147483646 + 1", i32::MAX),
        ("-2147483648 % -1", 0),
        ("-2147483648 / 1", i32::MIN),
    ]);
    fail(
        Math,
        &[
            ("2147483647 + 1", 0),
            ("-2147483648 - 1", 0),
            ("65536 * 65536", 0),
            ("-2147483648 * -1", 0),
            ("-2147483648 / -1", 0),
        ],
    );
}

#[test]
fn logic_casts_and_evaluates_no_more_than_it_has_to() {
    are(&[
        ("TRUE AND TRUE", true),
        ("TRUE AND FALSE", false),
        ("FALSE OR TRUE", true),
        ("FALSE OR FALSE", false),
        ("TRUE XOR TRUE", false),
        ("TRUE XOR FALSE", true),
        ("'true' AND word", true),
        ("1 AND TRUE", true),
        ("0 OR hop", true),
        ("FALSE AND missing", false),
        ("FALSE AND 1 / 0 = 1", false),
        ("FALSE AND NO_SUCH()", false),
        ("TRUE OR missing", true),
        ("TRUE OR 'x'", true),
        ("FALSE AND missing OR TRUE", true),
    ]);
    fail(
        MissingAttribute,
        &[
            ("TRUE AND missing", false),
            ("FALSE OR missing", false),
            ("TRUE XOR missing", false),
        ],
    );
    fail(
        Cast,
        &[
            ("'x' AND FALSE", false),
            ("TRUE AND 'x'", false),
            ("'' OR TRUE", false),
            ("FALSE XOR 'x'", false),
        ],
    );
}

#[test]
fn like_matches_text_and_what_is_cast_to_it() {
    are(&[
        ("subject LIKE 'o-__'", true),
        ("subject LIKE 'o-_'", false),
        ("subject NOT LIKE 'O-%'", true),
        ("hop LIKE '_'", true),
        ("flag LIKE 'tr%'", true),
        ("-12 LIKE '-1_'", true),
        ("empty LIKE ''", true),
        ("empty LIKE '%'", true),
        ("empty LIKE '_'", false),
        (r"'50%' LIKE '50\%'", true),
        (r"'505' LIKE '50\%'", false),
        (r"'a_b' LIKE 'a\_b'", true),
        (r"'a\b' LIKE 'a\b'", true),
        (r"'it\'s' LIKE 'it\'s'", true),
        (r#"'say "x"' LIKE "say \"_\"""#, true),
        ("UPPER(subject) LIKE 'O%'", true),
    ]);
}

#[test]
fn the_pattern_of_like_is_a_string_literal() {
    refused(&[
        "subject LIKE 17",
        "subject LIKE subject",
        "subject LIKE TRUE",
        "subject LIKE ('o%')",
    ]);
    refused(&["subject LIKE CONCAT('o', '%')", "subject LIKE"]);
}

#[test]
fn exists_is_true_for_what_the_event_has_and_for_what_every_event_has() {
    are(&[
        ("EXISTS subject", true),
        ("EXISTS missing", false),
        ("NOT EXISTS missing", true),
        ("EXISTS empty", true),
        (
            "EXISTS id AND EXISTS source AND EXISTS specversion AND EXISTS type",
            true,
        ),
    ]);
    let nothing: [(&str, Value<'_>); 0] = [];
    for name in ["id", "source", "specversion", "type"] {
        assert!(
            Expression::parse(&format!("EXISTS {name}"))
                .unwrap()
                .matches(&nothing)
        );
    }
}

#[test]
fn in_casts_the_elements_to_the_type_of_the_left_operand() {
    are(&[
        ("hop IN (1, 2, 5)", true),
        ("hop NOT IN (1, 2, 5)", false),
        ("hop IN (1)", false),
        ("hop IN ('5')", true),
        ("'5' IN (5)", true),
        ("'05' IN (5)", false),
        ("'true' IN (TRUE)", true),
        ("'TRUE' IN (TRUE)", false),
        ("TRUE IN ('TrUe')", true),
        ("TRUE IN (2)", true),
        ("subject IN (id, subject)", true),
        ("1 IN (2, 0 + 1)", true),
        ("hop IN (5, missing)", true),
        ("hop IN (5, 1 / 0)", true),
    ]);
    fail(
        Cast,
        &[
            ("hop IN ('x', 5)", false),
            ("TRUE IN ('x')", false),
            ("hop NOT IN ('x')", false),
        ],
    );
    fail(MissingAttribute, &[("hop IN (1, missing)", false)]);
}
