//! Commands that look, as programs and people see them.

use serde_json::{Value, json};

use crate::shop::{Shop, contents};

#[tokio::test]
async fn topics_are_counted_and_located() {
    let shop = Shop::with_history().await;
    let topics = shop.json(&["topics"]);
    let counts = topics.as_array().unwrap().iter();
    let counts: Vec<_> = counts
        .map(|t| (t["name"].clone(), t["events"].clone()))
        .collect();
    assert_eq!(
        counts,
        [(json!("orders"), json!(3)), (json!("photos"), json!(1))]
    );
    assert_eq!(
        shop.json(&["topics", "photos"]).as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(shop.json(&["topics", "none.>"]), json!([]));

    let people = shop
        .run(&["topics"])
        .succeeds()
        .says("TOPIC")
        .says("orders");
    assert!(!people.out.contains(" \n"), "trailing blanks: {people:?}");
}

#[tokio::test]
async fn the_status_of_a_shop_with_dead_letters_is_healthy_and_says_so() {
    let shop = Shop::with_history().await;
    let status = shop.json(&["status"]);
    assert_eq!(status["healthy"], true);
    // How the owner opened the log is not in its files.
    assert_eq!(status["durability"], "unknown");
    assert_eq!(status["totals"]["events"], 4);
    assert_eq!(status["totals"]["dead"], 2);
    assert_eq!(status["totals"]["lag"], 0);
    assert_eq!(status["scheduled"], 1);
    assert_eq!(status["needed"]["by"], "group `payments`: a dead letter");
    shop.run(&["status"])
        .succeeds()
        .says("healthy")
        .says("for group `payments`: a dead letter")
        .says("payments")
        .says("ensue dead list");
}

#[tokio::test]
async fn groups_show_where_they_are() {
    let shop = Shop::with_history().await;
    let groups = shop.json(&["groups"]);
    assert_eq!(groups[0]["name"], "payments");
    assert_eq!(groups[0]["topics"], json!(["orders"]));
    assert_eq!(groups[0]["dead"], 2);
    shop.run(&["groups"])
        .succeeds()
        .says("payments")
        .says("blocked: 2 keys, 0 parked");
    assert_eq!(groups[0]["blocked"], 2);
}

#[tokio::test]
async fn describe_names_topics_that_no_group_reads() {
    let shop = Shop::with_history().await;
    let description = shop.json(&["describe"]);
    assert_eq!(description["unheard"], json!(["photos"]));
    assert_eq!(description["groups"][0]["topics"], json!(["orders"]));
    assert_eq!(description["guarantees"]["commit"], "atomic");
    shop.run(&["describe"])
        .succeeds()
        .says("no group")
        .says("one commit");
}

#[tokio::test]
async fn tail_filters_and_bounds() {
    let shop = Shop::with_history().await;
    let ids = |args: &[&str]| -> Vec<String> {
        let run = shop.run(&[&["--json", "tail"], args].concat()).succeeds();
        let lines = run
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|event: Value| event["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&[]), ["e-1", "e-2", "e-3", "e-4"]);
    assert_eq!(ids(&["orders", "-n", "2"]), ["e-2", "e-3"]);
    assert_eq!(ids(&["--type", "photo.taken"]), ["e-4"]);
    assert_eq!(ids(&["--key", "o-2"]), ["e-2"]);
    assert_eq!(ids(&["--from", "earliest", "--limit", "1"]), ["e-1"]);
    assert_eq!(ids(&["--from", "1h"]), ["e-1", "e-2", "e-3", "e-4"]);
    assert!(ids(&["--from", "latest"]).is_empty());
    assert!(ids(&["--until", "1h"]).is_empty());
    assert!(ids(&["-n", "0"]).is_empty());

    let second = shop.run(&["--json", "tail", "--key", "o-2"]).json();
    let second = second["ensueposition"].as_str().unwrap().to_owned();
    assert_eq!(ids(&["--until", &second]), ["e-1"]);
    assert_eq!(ids(&["orders", "--from", &second]), ["e-2", "e-3"]);
}

#[tokio::test]
async fn a_tailed_event_is_a_cloudevent_with_its_place() {
    let shop = Shop::with_history().await;
    let event = shop
        .run(&["--json", "tail", "--key", "o-1"])
        .succeeds()
        .json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "order.created");
    assert_eq!(event["subject"], "o-1");
    assert_eq!(event["data"], json!({"cents": 100}));
    assert!(event["ensueposition"].is_string(), "{event}");
    assert!(event["ensueappended"].is_string(), "{event}");

    let line = shop.run(&["tail", "orders"]).succeeds();
    let first = line.out.lines().next().unwrap();
    let cells: Vec<_> = first.split_whitespace().skip(1).collect();
    assert_eq!(
        cells,
        ["orders", "order.created", "o-1", "e-1", r#"{"cents":100}"#]
    );
    assert!(line.out.contains("3 B of application/cbor"), "{line:?}");
    shop.run(&["tail", "--key", "o-1", "--payload"])
        .succeeds()
        .says("    {\n      \"cents\": 100\n    }");
}

#[tokio::test]
async fn looking_works_while_an_app_owns_the_directory_and_changes_nothing() {
    let shop = Shop::with_history().await;
    let app = shop.open().await;
    let before = contents(&shop.path());
    for args in [
        &["status"][..],
        &["topics"],
        &["groups"],
        &["describe"],
        &["tail"],
        &["dead", "list"],
        &["dead", "show", "e-2"],
        &["dead", "redrive", "payments", "--all", "--dry-run"],
        &["dead", "discard", "payments", "--all", "--dry-run"],
        &["reset", "payments", "--to", "earliest", "--dry-run"],
        &["delete", "payments", "--dry-run"],
        &["schedule", "list"],
        &["check"],
    ] {
        shop.run(args).succeeds();
        shop.run(&[&["--json"], args].concat()).succeeds();
    }
    assert!(
        contents(&shop.path()) == before,
        "a reading command wrote something"
    );
    app.close().await.unwrap();
}

#[tokio::test]
async fn what_the_owner_appends_is_seen_at_once() {
    let shop = Shop::with_history().await;
    let app = shop.open().await;
    let event = crate::shop::event("orders", "order.created", "o-9", "e-9", b"{}");
    app.append(vec![event.into()]).await.unwrap();
    assert_eq!(shop.json(&["tail", "--key", "o-9"])["id"], "e-9");
    assert_eq!(shop.json(&["topics", "orders"])[0]["events"], 4);
    app.close().await.unwrap();
}

#[tokio::test]
async fn an_id_that_several_sources_scheduled_needs_its_source() {
    let shop = Shop::empty();
    for source in ["/one", "/two"] {
        let args = ["publish", "--topic", "t", "--type", "e", "--data", "1"];
        let later = ["--id", "r-1", "--after", "2h", "--source", source];
        shop.run(&[&args[..], &later].concat()).succeeds();
    }
    let run = shop.run(&["--json", "schedule", "cancel", "r-1"]).fails(1);
    assert_eq!(run.error()["kind"], "ambiguous");
    let advice = run.error()["advice"].as_str().unwrap().to_owned();
    assert!(advice.contains("/one, /two"), "{advice}");
    let cancelled = shop.json(&["schedule", "cancel", "r-1", "--source", "/two"]);
    assert_eq!(cancelled, json!({"asked": 1, "cancelled": 1}));
    let left = shop.json(&["schedule", "list"]);
    assert_eq!(left[0]["event"]["source"], "/one");
    assert_eq!(left[1], json!(null));
}

#[tokio::test]
async fn the_schedule_is_listed_and_cancelled() {
    let shop = Shop::with_history().await;
    let list = shop.json(&["schedule", "list"]);
    assert_eq!(list[0]["at"], "2100-01-01T00:00:00Z");
    assert_eq!(list[0]["event"]["id"], "r-1");
    shop.run(&["schedule", "list"])
        .succeeds()
        .says("r-1")
        .says("in ");
    let cancelled = shop.json(&["schedule", "cancel", "r-1", "r-unknown"]);
    assert_eq!(cancelled, json!({"asked": 2, "cancelled": 1}));
    assert_eq!(shop.json(&["schedule", "list"]), json!([]));
    shop.run(&["schedule", "list"])
        .succeeds()
        .warns("nothing is scheduled");
}

#[test]
fn engines_and_completions_need_no_log() {
    let nowhere = Shop::empty();
    let engines = nowhere.json(&["engines"]);
    assert_eq!(engines[0]["scheme"], "embedded");
    assert_eq!(engines[0]["available"], true);
    nowhere
        .run(&["engines"])
        .succeeds()
        .says("embedded:./data")
        .says("durability");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        nowhere
            .run(&["completions", shell])
            .succeeds()
            .says("redrive");
    }
    nowhere
        .run(&["--version"])
        .succeeds()
        .says(env!("CARGO_PKG_VERSION"));
    nowhere
        .run(&["--help"])
        .succeeds()
        .says("Exit codes")
        .says("tail");
}

#[test]
fn the_documentation_says_what_engines_promise() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/engines.md");
    let page = std::fs::read_to_string(page).unwrap();
    let run = Shop::empty().run(&["engines", "--markdown"]).succeeds();
    let printed = run.out.trim();
    assert!(
        page.contains(printed),
        "put this into docs/engines.md:\n{printed}"
    );
}
