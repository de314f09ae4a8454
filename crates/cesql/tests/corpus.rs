//! The fuzzer's inputs through parser and evaluation: see `fuzz/replay.rs`.
//!
//! `ENSUE_WRITE_CORPUS=1` writes the expressions below into `fuzz/corpus`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

#[path = "../../../fuzz/replay.rs"]
mod replay;

use ensue_cesql::{Expression, Value};

/// More than a pattern or a message needs beside the text.
const ALLOCATION_BYTES_MAX: usize = 4 * 1024;

const SEEDS: [&str; 6] = [
    "(hop + 1) * -2 <= INT('7') % 3 AND NOT flag = FALSE",
    "id LIKE '%e_\\%\\_%' OR id NOT LIKE \"e-_\" XOR flag",
    "hop NOT IN (1, '2', hop / 0) AND EXISTS subject",
    "CONCAT_WS(', ', LEFT(id, 2), RIGHT(id, 1), SUBSTRING(id, -2, 1), UPPER(TRIM(\" x \")))",
    "'it\\'s' = \"it's\" AND IS_BOOL('TRUE') AND LENGTH('€😀') = ABS(-2147483648)",
    "-(-(5)) - +1 <> --1",
];

fn decode(bytes: &[u8]) -> bool {
    let Ok(Ok(expression)) = std::str::from_utf8(bytes).map(Expression::parse) else {
        return false;
    };
    let event = [
        ("id", Value::from("e-1")),
        ("hop", 5.into()),
        ("flag", true.into()),
    ];
    let evaluation = expression.evaluate(&event);
    let again = Expression::parse(&expression.to_string()).expect("what is written can be parsed");
    assert_eq!(again, expression);
    assert_eq!(again.evaluate(&event), evaluation);
    true
}

#[test]
fn parser_and_evaluation_survive_their_corpus() {
    let seeds = SEEDS.map(|text| ("cesql", text.as_bytes().to_vec()));
    replay::write_if_asked(seeds.into());
    replay::survives_its_corpus("cesql", decode, ALLOCATION_BYTES_MAX, 1);
}
