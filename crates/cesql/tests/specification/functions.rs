//! Section 3.5: the functions.

use ensue_cesql::ErrorKind::{Cast, FunctionEvaluation, Math, MissingFunction};

use crate::{are, fail};

#[test]
fn length_counts_code_points() {
    are(&[
        ("LENGTH('')", 0),
        ("LENGTH('abc')", 3),
        ("LENGTH('ä€😀')", 3),
        ("LENGTH(-12)", 3),
        ("LENGTH(TRUE)", 4),
        ("LENGTH(subject)", 4),
    ]);
}

#[test]
fn concat_joins_any_number_of_texts() {
    are(&[
        ("CONCAT()", ""),
        ("CONCAT('a')", "a"),
        ("CONCAT('a', 'b', 1, TRUE)", "ab1true"),
        ("CONCAT_WS(',')", ""),
        ("CONCAT_WS(',', 'a')", "a"),
        ("CONCAT_WS(', ', 'a', 'b', 'c')", "a, b, c"),
        ("CONCAT_WS('', 'a', 'b')", "ab"),
        ("CONCAT_WS(0, 'a', '', 'b')", "a00b"),
    ]);
}

#[test]
fn lower_upper_and_trim_know_unicode() {
    are(&[
        ("LOWER('ÄBc')", "äbc"),
        ("UPPER('äbß')", "ÄBSS"),
        ("LOWER(TRUE)", "true"),
        ("UPPER(TRUE)", "TRUE"),
        ("TRIM('  a b\t\r\n')", "a b"),
        ("TRIM('\u{a0}\u{2003}a\u{3000}')", "a"),
        ("TRIM('\u{0}a\u{7f}')", "\u{0}a\u{7f}"),
        ("TRIM('\u{200b}a')", "\u{200b}a"),
        ("TRIM('   ')", ""),
        ("TRIM(CONCAT(' ', 'a', ' '))", "a"),
    ]);
}

#[test]
fn left_and_right_take_at_most_what_there_is() {
    are(&[
        ("LEFT('abc', 2)", "ab"),
        ("LEFT('abc', 0)", ""),
        ("LEFT('abc', 3)", "abc"),
        ("LEFT('abc', 2147483647)", "abc"),
        ("LEFT('€😀c', 2)", "€😀"),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', 0)", ""),
        ("RIGHT('abc', 4)", "abc"),
        ("RIGHT('a€😀', 2)", "€😀"),
        ("LEFT(12345, '2')", "12"),
        ("RIGHT(CONCAT('ab', 'cd'), 3)", "bcd"),
    ]);
    fail(
        FunctionEvaluation,
        &[
            ("LEFT('abc', -1)", "abc"),
            ("RIGHT('abc', -2147483648)", "abc"),
        ],
    );
    fail(Cast, &[("LEFT('abc', 'x')", ""), ("RIGHT('abc', '')", "")]);
}

#[test]
fn substring_counts_from_one_or_from_the_end() {
    are(&[
        ("SUBSTRING('abcdef', 1)", "abcdef"),
        ("SUBSTRING('abcdef', 3)", "cdef"),
        ("SUBSTRING('abcdef', 6)", "f"),
        ("SUBSTRING('abcdef', 0)", ""),
        ("SUBSTRING('abcdef', -1)", "f"),
        ("SUBSTRING('abcdef', -6)", "abcdef"),
        ("SUBSTRING('', 0)", ""),
        ("SUBSTRING('a€😀d', 2)", "€😀d"),
        ("SUBSTRING('a€😀d', -2)", "😀d"),
        ("SUBSTRING(12345, '2')", "2345"),
    ]);
    fail(
        FunctionEvaluation,
        &[
            ("SUBSTRING('abcdef', 7)", ""),
            ("SUBSTRING('abcdef', -7)", ""),
            ("SUBSTRING('', 1)", ""),
            ("SUBSTRING('abc', -2147483648)", ""),
        ],
    );
    fail(Cast, &[("SUBSTRING('abc', 'x')", "")]);
}

#[test]
fn substring_takes_as_many_characters_as_it_is_told() {
    are(&[
        ("SUBSTRING('abcdef', 2, 3)", "bcd"),
        ("SUBSTRING('abcdef', 1, 0)", ""),
        ("SUBSTRING('abcdef', 4, 10)", "def"),
        ("SUBSTRING('abcdef', 1, 2147483647)", "abcdef"),
        ("SUBSTRING('abcdef', -3, 2)", "de"),
        ("SUBSTRING('abcdef', -3, 10)", "def"),
        ("SUBSTRING('abcdef', 0, 4)", ""),
        ("SUBSTRING('a€😀d', 2, 2)", "€😀"),
    ]);
    fail(
        FunctionEvaluation,
        &[
            ("SUBSTRING('abcdef', 2, -1)", ""),
            ("SUBSTRING('abcdef', 0, -1)", ""),
            ("SUBSTRING('abcdef', 7, 1)", ""),
            ("SUBSTRING('abcdef', -7, 1)", ""),
        ],
    );
    fail(Cast, &[("SUBSTRING('abc', 1, 'x')", "")]);
}

#[test]
fn abs_has_no_value_for_the_smallest_integer() {
    are(&[
        ("ABS(-7)", 7),
        ("ABS(7)", 7),
        ("ABS('-7')", 7),
        ("ABS(TRUE)", 1),
        ("ABS(-2147483647)", i32::MAX),
    ]);
    fail(Math, &[("ABS(-2147483648)", i32::MAX)]);
    fail(Cast, &[("ABS('x')", 0)]);
}

#[test]
fn casts_can_be_called_as_functions() {
    are(&[
        ("INT('12')", 12),
        ("INT('-0')", 0),
        ("INT(TRUE)", 1),
        ("INT(3)", 3),
        ("INT('+3')", 3),
    ]);
    are(&[
        ("BOOL('TRUE')", true),
        ("BOOL('false')", false),
        ("BOOL(1)", true),
        ("BOOL(0)", false),
        ("BOOL(TRUE)", true),
    ]);
    are(&[
        ("STRING(12)", "12"),
        ("STRING(TRUE)", "true"),
        ("STRING('x')", "x"),
        ("STRING(-5)", "-5"),
    ]);
    fail(
        Cast,
        &[
            ("INT('x')", 0),
            ("INT('')", 0),
            ("INT('2147483648')", 0),
            ("INT(' 1')", 0),
        ],
    );
    fail(
        Cast,
        &[
            ("BOOL('x')", false),
            ("BOOL('')", false),
            ("BOOL('1')", false),
        ],
    );
}

#[test]
fn is_int_and_is_bool_tell_what_a_text_says() {
    are(&[
        ("IS_INT('12')", true),
        ("IS_INT(12)", true),
        ("IS_INT('x')", false),
        ("IS_INT(TRUE)", false),
        ("IS_INT('2147483648')", false),
        ("IS_BOOL('True')", true),
        ("IS_BOOL(FALSE)", true),
        ("IS_BOOL(1)", false),
        ("IS_BOOL('yes')", false),
    ]);
}

#[test]
fn a_function_is_found_by_its_name_and_the_number_of_its_arguments() {
    fail(
        MissingFunction,
        &[
            ("NO_SUCH()", false),
            ("LENGTH()", false),
            ("LENGTH('a', 'b')", false),
            ("SUBSTRING('a')", false),
            ("SUBSTRING('a', 1, 1, 1)", false),
            ("CONCAT_WS()", false),
            ("LEFT('a')", false),
            ("ABS()", false),
            ("NO_SUCH() = FALSE", false),
        ],
    );
    fail(
        MissingFunction,
        &[("1 + NO_SUCH()", 0), ("LENGTH(NO_SUCH())", 0)],
    );
    fail(MissingFunction, &[("UPPER(NO_SUCH())", "")]);
}
