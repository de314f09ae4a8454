//! `ensue publish`.

use serde_json::json;

use crate::shop::Shop;

const ORDER: [&str; 5] = ["publish", "--topic", "orders", "--type", "order.created"];

#[tokio::test]
async fn the_first_event_makes_the_log() {
    let shop = Shop::empty();
    let run = shop.run(
        &[
            &ORDER[..],
            &["--key", "o-1", "--id", "e-1", "--data", "{\"n\":1}"],
        ]
        .concat(),
    );
    run.succeeds()
        .says("published `e-1` to `orders`")
        .warns("created a log in");
    let event = shop.json(&["tail"]);
    assert_eq!(event["id"], "e-1");
    assert_eq!(event["source"], "/ensue/cli");
    assert_eq!(event["data"], json!({"n": 1}));
}

#[tokio::test]
async fn an_id_is_published_once() {
    let shop = Shop::empty();
    let args = [&ORDER[..], &["--id", "e-1", "--data", "1"]].concat();
    let first = shop.json(&args);
    assert_eq!(first["duplicate"], false);
    let second = shop.json(&args);
    assert_eq!(second["duplicate"], true);
    assert_eq!(second["position"], first["position"]);
    shop.run(&args).succeeds().says("in the log already");
}

#[tokio::test]
async fn payloads_come_from_files_and_stdin() {
    let shop = Shop::empty();
    shop.run_with(&[&ORDER[..], &["--file", "-"]].concat(), b"{\"n\": 2}")
        .succeeds();
    let file = shop.path().join("../photo.jpg");
    std::fs::write(&file, [0xff, 0xd8]).unwrap();
    let file = file.display().to_string();
    let photo = ["--content-type", "image/jpeg", "--file", &file];
    shop.run(&[&ORDER[..], &photo].concat()).succeeds();
    let run = shop.run(&["--json", "tail"]).succeeds();
    assert!(run.out.contains(r#""data":{"n": 2}"#), "{run:?}");
    assert!(run.out.contains(r#""data_base64":"/9g=""#), "{run:?}");
}

#[tokio::test]
async fn an_event_can_wait_for_its_time() {
    let shop = Shop::empty();
    let later = shop.json(&[&ORDER[..], &["--id", "e-1", "--data", "1", "--after", "2h"]].concat());
    assert_eq!(later["position"], json!(null));
    assert!(later["at"].is_string(), "{later}");
    let at = ["--id", "e-2", "--data", "1", "--at", "2100-01-01T00:00:00Z"];
    shop.run(&[&ORDER[..], &at].concat())
        .succeeds()
        .says("scheduled `e-2`");
    assert_eq!(shop.json(&["schedule", "list"])[0]["event"]["id"], "e-1");
    assert_eq!(shop.json(&["status"])["scheduled"], 2);
    // A timer that is set again is moved.
    for data in ["2", "3"] {
        let set = ["--timer", "t", "--after", "1h", "--data", data];
        shop.run(&[&ORDER[..], &set].concat()).succeeds();
    }
    let first = &shop.json(&["schedule", "list"])[0];
    assert_eq!(
        (&first["name"], &first["event"]["data"]),
        (&json!("t"), &json!(3))
    );
    assert_eq!(shop.json(&["status"])["scheduled"], 3);
}

#[tokio::test]
async fn a_log_can_be_copied_through_a_pipe() {
    let shop = Shop::with_history().await;
    let all = shop
        .run(&["--json", "tail", "--from", "earliest"])
        .succeeds()
        .out;
    let copy = Shop::empty();
    let args = ["--json", "publish", "--cloudevents", "-"];
    let published = copy.run_with(&args, all.as_bytes()).succeeds().json();
    assert_eq!(published, json!({"published": 4, "duplicates": 0}));
    let again = copy.run_with(&args, all.as_bytes()).succeeds().json();
    assert_eq!(again, json!({"published": 0, "duplicates": 4}));
    let events = |text: &str| -> Vec<_> {
        let parse = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let mut events: Vec<_> = text.lines().map(parse).collect();
        for event in &mut events {
            for place in ["ensueposition", "ensueappended"] {
                event.as_object_mut().unwrap().remove(place);
            }
        }
        events
    };
    let copied = copy
        .run(&["--json", "tail", "--from", "earliest"])
        .succeeds()
        .out;
    assert_eq!(events(&copied), events(&all));
}

#[tokio::test]
async fn a_batch_of_cloudevents_is_published_as_a_whole_or_not_at_all() {
    let shop = Shop::empty();
    let event = |n: usize, topic: &str| {
        json!({"specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "e",
            "topic": topic, "data": n})
    };
    let args = ["--json", "publish", "--cloudevents", "-"];
    let batch = |topics: &[&str]| {
        let events = topics.iter().enumerate().map(|(n, topic)| event(n, topic));
        format!("\n{:#}\n", serde_json::Value::from_iter(events))
    };
    for (bad, why) in [
        (
            batch(&["numbers", "_numbers"]),
            "event 2: the topic `_numbers` is reserved",
        ),
        (batch(&["numbers", "not a topic"]), "event 2 of the batch"),
        (batch(&["numbers"]) + "x", "trailing characters"),
    ] {
        let run = shop.run_with(&args, bad.as_bytes()).fails(1);
        let message = run.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(why), "{message}");
    }
    let many = batch(&["numbers"; 1_500]);
    let published = shop.run_with(&args, many.as_bytes()).succeeds().json();
    assert_eq!(published, json!({"published": 1_500, "duplicates": 0}));
    let empty = shop.run_with(&args, b" [ ] ").succeeds().json();
    assert_eq!(empty, json!({"published": 0, "duplicates": 0}));
    let last = shop.run(&["--json", "tail", "--last", "1"]).succeeds();
    assert!(last.out.contains(r#""data":1499"#), "{}", last.out);
}

#[tokio::test]
async fn payloads_and_attributes_are_copied_byte_by_byte() {
    let shop = Shop::empty();
    let payloads: [(&str, &[u8]); 8] = [
        (
            "application/json",
            br#"{"n":123456789012345678901234567890,"a":1,"a":2}"#,
        ),
        ("application/json", br#"{"b":1.10,"a":-0,"c":1e400}"#),
        ("application/vnd.acme+json; v=1", b"{\n  \"z\": [ 1 ]\r\n}"),
        ("application/json", b" \"\\ud800\" "),
        ("text/plain", b"\"quoted\" text\nof two lines"),
        ("text/plain; charset=latin1", b"gr\xfc\xdfe"),
        ("image/png", b"\x89PNG\r\n\x1a\n"),
        ("application/octet-stream", b""),
    ];
    for (number, (content_type, payload)) in payloads.iter().enumerate() {
        let id = number.to_string();
        let args = ["--id", &id, "--content-type", content_type, "--file", "-"];
        shop.run_with(&[&ORDER[..], &args].concat(), payload)
            .succeeds();
    }
    let foreign = concat!(
        r#"{"specversion":"1.0","id":"8","source":"/other","type":"order.created","topic":"orders","#,
        r#""partitionkey":"p","time":"2026-01-02T03:04:05.123456789+02:00","sampled":true,"#,
        r#""shard":-7,"data_base64":"eyJhIjoxfQ=="}"#
    );
    shop.run_with(&["publish", "--cloudevents", "-"], foreign.as_bytes())
        .succeeds();

    let all = ["--json", "tail", "--from", "earliest"];
    let original = shop.run(&all).succeeds().out;
    let copy = Shop::empty();
    copy.run_with(&["publish", "--cloudevents", "-"], original.as_bytes())
        .succeeds();
    let second = copy.run(&all).succeeds().out;
    let without_place = |text: &str| -> Vec<String> {
        let cut = |line: &str| {
            let (before, rest) = line.split_once(r#","ensueposition""#).unwrap();
            let (_, place) = rest.split_once(r#""ensueappended":""#).unwrap();
            let (_, after) = place.split_once('"').unwrap();
            format!("{before}{after}")
        };
        text.lines().map(cut).collect()
    };
    assert_eq!(without_place(&second), without_place(&original));

    let stored = copy.payloads().await;
    let expected = payloads.iter().map(|(_, payload)| payload.to_vec());
    let expected: Vec<_> = expected.chain([br#"{"a":1}"#.to_vec()]).collect();
    assert_eq!(stored, expected);
    let last = second.lines().last().unwrap();
    for part in [
        r#""partitionkey":"p""#,
        r#""time":"2026-01-02T03:04:05.123456789+02:00""#,
        r#""sampled":true"#,
        r#""shard":-7"#,
        r#""data_base64":"eyJhIjoxfQ==""#,
    ] {
        assert!(last.contains(part), "{last}");
    }
    assert!(!last.contains("traceparent"), "{last}");
}

#[tokio::test]
async fn a_bad_line_is_named_and_the_lines_before_it_count() {
    let shop = Shop::empty();
    let mut lines = String::new();
    for n in 0..1_000 {
        lines.push_str(&format!(
            "{{\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"e\",\"id\":\"{n}\",\"data\":{n}}}\n\n"
        ));
    }
    lines.push_str("{\"type\":7}\n");
    let args = ["publish", "--topic", "numbers", "--cloudevents", "-"];
    let run = shop.run_with(&args, lines.as_bytes()).fails(1);
    run.warns("line 2001 of stdin")
        .warns("1,000 events before it are published");
    assert_eq!(shop.json(&["topics"])[0]["events"], 1_000);
}

#[tokio::test]
async fn what_cannot_be_an_event_is_refused_with_its_reason() {
    let shop = Shop::empty();
    let refused = |args: &[&str], part: &str| {
        let run = shop.run(&[&["--json"], args].concat()).fails(1);
        let message = run.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{message}");
    };
    refused(
        &[&ORDER[..], &["--data", "{n: 1}"]].concat(),
        "not application/json",
    );
    refused(
        &["publish", "--topic", "a b", "--type", "e", "--data", "1"],
        "not a topic",
    );
    refused(
        &["publish", "--topic", "_reply", "--type", "e", "--data", "1"],
        "reserved",
    );
    let long = "k".repeat(600);
    refused(
        &[&ORDER[..], &["--key", &long, "--data", "1"]].concat(),
        "600 bytes",
    );
    refused(&[&ORDER[..], &["--file", "/nowhere"]].concat(), "/nowhere");
    let huge = vec![b'1'; 9 << 20];
    let run = shop.run_with(&[&["--json"], &ORDER[..], &["--file", "-"]].concat(), &huge);
    let error = run.fails(1).error();
    assert!(
        error["message"].as_str().unwrap().contains("payload has"),
        "{error}"
    );
    assert!(!shop.path().exists() || shop.json(&["topics"]) == json!([]));
}

#[test]
fn nothing_is_published_to_a_log_that_ends_with_the_command() {
    let shop = Shop::empty();
    let event = ["publish", "--topic", "t", "--type", "e", "--data", "{}"];
    let run = shop.run(&[&["--json", "--engine", "memory:"], &event[..]].concat());
    assert_eq!(run.fails(1).error()["kind"], "unsupported");
}
