//! Expressions in CloudEvents SQL, over events from files.

use serde_json::{Value, json};

use crate::shop::Shop;

/// What an expression says of an event.
fn says(event: &Value, expression: &str) -> Value {
    let args = ["--json", "cesql", expression, "--event", "-"];
    let run = Shop::empty().run_with(&args, event.to_string().as_bytes());
    run.succeeds().json()
}

fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "e-1",
        "source": "/shop",
        "type": "order.created",
        "myInt": 7,
        "large": 3_000_000_000_u64,
        "flag": true,
        "absent": null,
        "data": {"cents": 4200},
    })
}

#[test]
fn a_result_is_a_string_a_number_or_a_boolean() {
    for (expression, result) in [
        ("type LIKE 'order.%' AND EXISTS id", json!(true)),
        ("myint + 1", json!(8)),
        ("UPPER(type)", json!("ORDER.CREATED")),
        ("NOT flag", json!(false)),
        ("large", json!("3000000000")),
        ("EXISTS absent", json!(false)),
    ] {
        let expected = json!({"result": result, "error": null});
        assert_eq!(says(&event(), expression), expected, "{expression}");
    }
}

#[test]
fn an_error_is_named_beside_the_result() {
    for (expression, result, error) in [
        ("subject LIKE", json!(false), "parse"),
        ("1 / 0", json!(0), "math"),
        ("type + 1", json!(0), "cast"),
        ("absent", json!(false), "missingAttribute"),
        ("data", json!(false), "missingAttribute"),
        ("NO_SUCH()", json!(false), "missingFunction"),
        ("LEFT(id, -1)", json!("e-1"), "functionEvaluation"),
    ] {
        let expected = json!({"result": result, "error": error});
        assert_eq!(says(&event(), expression), expected, "{expression}");
    }
}

#[test]
fn an_event_is_read_from_a_file() {
    let shop = Shop::empty();
    std::fs::write(shop.path(), event().to_string()).unwrap();
    let file = shop.path().display().to_string();
    let said = shop.json(&["cesql", "type", "--event", &file]);
    assert_eq!(said, json!({"result": "order.created", "error": null}));
}

#[test]
fn an_expression_may_begin_like_an_option() {
    let shop = Shop::empty();
    for (expression, result) in [
        ("-10", json!(-10)),
        ("--10", json!(10)),
        ("-'10'", json!(-10)),
        ("--'10'", json!(10)),
        ("-TRUE", json!(-1)),
        ("-missing", json!(0)),
        ("-hop", json!(0)),
    ] {
        for args in [
            &["--json", "cesql", expression, "--event", "-"][..],
            &["--json", "cesql", "--event", "-", expression],
            &["cesql", "--event", "-", "--json", "--", expression],
        ] {
            let said = shop.run_with(args, b"{}").succeeds().json();
            assert_eq!(said["result"], result, "{args:?}");
        }
    }
}

#[test]
fn without_an_event_there_are_no_attributes() {
    let shop = Shop::empty();
    let said = shop.run(&["--json", "cesql", "subject"]).succeeds().json();
    assert_eq!(said, json!({"result": false, "error": "missingAttribute"}));
    let said = shop.run(&["--json", "cesql", "1 + 1"]).succeeds().json();
    assert_eq!(said, json!({"result": 2, "error": null}));
}

#[test]
fn a_person_reads_the_value_and_what_went_wrong() {
    let shop = Shop::empty();
    shop.run(&["cesql", "CONCAT('a', 1)"])
        .succeeds()
        .says("\"a1\"");
    let failed = shop.run(&["cesql", "1 / 0"]).succeeds();
    failed
        .says("0")
        .says("math: `1 / 0` has no result: a division by zero");
}

#[test]
fn a_file_that_is_not_an_event_is_refused() {
    let shop = Shop::empty();
    for (content, why) in [
        ("[]", "stdin is not a CloudEvent in JSON"),
        ("{\"id\": ", "stdin is not a CloudEvent in JSON"),
        (
            "{\"id\": {}}",
            "attribute `id` is neither a string, a number nor a boolean",
        ),
    ] {
        let args = ["--json", "cesql", "id", "--event", "-"];
        let error = shop.run_with(&args, content.as_bytes()).fails(1).error();
        assert_eq!(error["kind"], "invalid_event");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    let args = ["--json", "cesql", "id", "--event", "nowhere"];
    assert_eq!(shop.run(&args).fails(1).error()["kind"], "io");
}
