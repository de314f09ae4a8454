//! Recorded readings: what is stored is what the file says, to the last digit. The expected figures were computed
//! by Python (`math.fsum(values) / len(values)`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use serde_json::{Value, json};

use crate::hall::Hall;

const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/data/sensors/machine_temperature.csv"
);

fn run(content: &str) -> (Hall, Value) {
    let hall = Hall::new(&["--input", "hall.csv"]);
    std::fs::write(hall.path().join("hall.csv"), content).unwrap();
    let found = hall.whole(&["--engine", "memory:"]);
    (hall, found)
}

fn assert_figures(found: &Value, expected: &Value) {
    for (field, expected) in expected.as_object().unwrap() {
        assert_eq!(&found[field], expected, "{field} of {found}");
    }
    for figure in ["seconds", "readings_per_second"] {
        assert!(found[figure].is_number(), "{figure} of {found}");
    }
}

#[test]
fn the_recorded_machine() {
    if !Path::new(RECORDED).exists() {
        eprintln!("NOT TESTED: the recorded readings are not there: {RECORDED}");
        return;
    }
    let found = Hall::new(&["--input", RECORDED]).whole(&["--engine", "memory:"]);
    let expected = json!({
        "readings": 22_695, "devices": 1, "min": 2.084_721_205_999_999_8, "max": 108.510_542_800_000_01,
        "mean": 85.926_498_210_680_2, "gaps": 0, "duplicates": 0, "rejected": 0,
    });
    assert_figures(&found, &expected);
}

#[test]
fn equal_times_negative_numbers_exponents_and_no_last_newline() {
    let rows = "2014-01-01 00:00:00,-5.25\r\n2014-01-01 00:00:00,-5.25\r\n2014-01-01 00:00:00,1e3\r\n\
                2013-12-31 23:59:59,2.5E-3\r\n2014-01-01 00:05:00,0.1\r\n2014-01-01 00:10:00,0.2";
    let expected = json!({
        "readings": 6, "devices": 1, "min": -5.25, "max": 1_000.0, "mean": 164.967_083_333_333_33,
        "gaps": 0, "duplicates": 0, "rejected": 0,
    });
    for header in ["", "timestamp,value\r\n"] {
        assert_figures(&run(&format!("{header}{rows}")).1, &expected);
    }
}

#[test]
fn bad_rows_are_counted_and_told() {
    let (hall, found) = run(
        "timestamp,value\n2014-01-01 00:00:00,1\nx,y\n2014-01-01 00:05:00,oops\n\
                             2014-01-01 00:10:00,4\n",
    );
    let expected = json!({ "readings": 2, "mean": 2.5, "gaps": 0, "rejected": 2 });
    assert_figures(&found, &expected);
    let told = hall.log();
    assert!(told.contains("line 3") && told.contains("`oops`"), "{told}");
}

#[test]
fn a_file_without_readings_ends_with_none() {
    let (_, found) = run("timestamp,value\n");
    let expected = json!({ "readings": 0, "devices": 0, "min": null, "mean": null });
    assert_figures(&found, &expected);
}
