//! Section 2: the syntax, and the precedence of 3.6.

use ensue_cesql::ErrorKind::{Cast, MissingAttribute, MissingFunction};

use crate::{are, fail, refused};

#[test]
fn keywords_functions_and_attributes_are_found_in_any_case() {
    are(&[
        ("true AND tRuE aNd TRUE", true),
        ("false or exists SUBJECT", true),
        ("Subject lIkE 'o%'", true),
        ("HOP in (5)", true),
        ("nOt FALSE xOr FALSE", true),
        ("length('abc') = LENGTH('abc')", true),
    ]);
}

#[test]
fn blanks_between_tokens_do_not_matter() {
    are(&[
        ("1+1", 2),
        ("1-1", 0),
        ("1 -1", 0),
        ("\t1\r\n+ 1 ", 2),
        ("ABS  ( -3 )", 3),
    ]);
    are(&[("(((hop)))=5", true), ("hop IN(1,5)AND flag", true)]);
    refused(&["1\u{a0}+ 1", "1\u{c}+ 1", "N OT TRUE"]);
}

#[test]
fn attributes_have_letters_and_digits() {
    are(&[("x2", "with a digit")]);
    refused(&[
        "my_attribute",
        "_x",
        "x.y",
        "ä",
        "x-",
        "EXISTS a_b",
        "EXISTS 12",
        "EXISTS 'id'",
    ]);
    // A name of digits only is a number; longer than 20 characters is not recommended, and allowed.
    are(&[("12", 12)]);
    fail(
        MissingAttribute,
        &[("1abc", false), ("abcdefghijklmnopqrstuvwxyz", false)],
    );
}

#[test]
fn keywords_are_not_attributes() {
    refused(&["and", "like", "EXISTS in", "not", "exists", "xor = 1"]);
}

#[test]
fn integers_have_32_bits_and_a_sign_or_none() {
    are(&[
        ("0", 0),
        ("007", 7),
        ("+5", 5),
        ("-5", -5),
        ("- 5", -5),
        ("2147483647", i32::MAX),
        ("-2147483648", i32::MIN),
        ("0 - -2147483647", i32::MAX),
        ("1 + +1", 2),
    ]);
    refused(&[
        "2147483648",
        "-2147483649",
        "- 2147483648",
        "99999999999999999999",
        "+ 5",
        "+hop",
    ]);
    refused(&["1.5", "1 2"]);
    fail(MissingAttribute, &[("1e3", false), ("0x1F", false)]);
}

#[test]
fn strings_have_either_quote_and_escape_it() {
    are(&[
        ("'it is'", "it is"),
        ("\"it is\"", "it is"),
        (r"'it\'s'", "it's"),
        (r#""say \"hi\"""#, "say \"hi\""),
        (r#"'say "hi"'"#, "say \"hi\""),
        (r"'a\b\\c'", r"a\b\\c"),
        (r"'\\'", r"\\"),
        (r#"'\"\\\''"#, r#"\"\\'"#),
        (r#""\'\\\"""#, r#"\'\\""#),
        ("'  MiXeD  '", "  MiXeD  "),
        ("'line\nbreak'", "line\nbreak"),
        ("'€😀'", "€😀"),
        ("''", ""),
    ]);
    refused(&["'abc", "abc'", "\"abc'", r"'abc\'", "'it''s'", "'a' 'b'"]);
}

#[test]
fn parentheses_match_and_sets_have_an_element() {
    refused(&[
        "",
        " ",
        "(",
        ")",
        "()",
        "(1",
        "1)",
        "((1)",
        "ABC(",
        "ABC(1",
        "ABC(1,)",
        "ABC(,1)",
        "1 IN ()",
        "1 IN (1",
        "1 IN 1",
        "1 IN (1,)",
        "1 IN",
        "1,2",
    ]);
}

#[test]
fn operators_need_their_operands() {
    refused(&[
        "1 +",
        "* 1",
        "= 1",
        "1 = ",
        "1 == 1",
        "1 =! 1",
        "1 ! = 1",
        "1 < > 2",
        "NOT",
        "-",
        "AND TRUE",
        "TRUE AND",
        "TRUE NOT FALSE",
        "1 NOT = 2",
        "TRUE && TRUE",
        "TRUE TRUE",
        "LIKE 'a'",
        "x LIKE",
    ]);
}

#[test]
fn functions_have_letters_and_underscores() {
    fail(
        MissingFunction,
        &[("A__B()", false), ("no_such_('x')", false)],
    );
    refused(&["_A()", "A1()", "1A()", "1()", "'A'()", "TRUE()"]);
}

#[test]
fn what_binds_tighter_is_evaluated_first() {
    are(&[
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("10 - (4 - 3)", 9),
        ("100 / 10 / 5", 2),
        ("7 % 4 * 2", 6),
        ("-2 * -3", 6),
        ("-hop + 6", 1),
        ("2 * -hop", -10),
    ]);
    are(&[
        ("1 + 1 = 2", true),
        ("1 = 1 = TRUE", true),
        ("1 < 2 = TRUE", true),
        ("1 = 1 AND 2 = 2", true),
    ]);
    // IN and LIKE bind tighter than binary operators, and unary ones tighter than they.
    fail(
        Cast,
        &[("NOT hop IN (5)", false), ("NOT hop LIKE '5'", false)],
    );
    are(&[
        ("NOT (hop IN (5))", false),
        ("NOT word LIKE 'false'", true),
        ("-hop IN (-5)", true),
    ]);
    are(&[("hop + 1 IN (1)", 6)]);
    are(&[
        ("NOT flag = FALSE", true),
        ("NOT EXISTS subject = TRUE", false),
    ]);
    are(&[("hop IN (5) IN (TRUE) LIKE 'true'", true)]);
}

#[test]
fn logic_operators_go_from_left_to_right() {
    are(&[
        ("TRUE OR TRUE AND FALSE", false),
        ("TRUE OR (TRUE AND FALSE)", true),
        ("FALSE AND FALSE OR TRUE", true),
        ("FALSE AND (FALSE OR TRUE)", false),
        ("TRUE XOR TRUE OR TRUE", true),
        ("TRUE OR FALSE XOR TRUE", false),
    ]);
}
