//! `ensue dead`.

use serde_json::{Value, json};

use crate::shop::{Shop, contents};

fn ids(letters: &Value) -> Vec<&str> {
    let letters = letters.as_array().unwrap().iter();
    letters
        .map(|letter| letter["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn letters_are_listed_and_filtered() {
    let shop = Shop::with_history().await;
    let all = shop.json(&["dead", "list"]);
    assert_eq!(ids(&all), ["e-2", "e-3"]);
    assert_eq!(all[0]["cause"], "exhausted");
    assert_eq!(all[0]["attempts"], 5);
    assert_eq!(all[0]["group"], "payments");
    assert_eq!(all[1]["cause"], "undecodable");
    for (filter, expected) in [
        (&["payments", "--key", "o-3"][..], &["e-3"][..]),
        (&["--reason", "timed out"], &["e-2"]),
        (&["--type", "order.created", "--limit", "1"], &["e-2"]),
        (&["--id", "e-3", "--id", "e-2"], &["e-2", "e-3"]),
        (&["--since", "1h"], &["e-2", "e-3"]),
        (&["--since", "2099-01-01"], &[]),
        (&["--type", "order.paid"], &[]),
    ] {
        let found = shop.json(&[&["dead", "list"], filter].concat());
        assert_eq!(ids(&found), expected, "{filter:?}");
    }
    shop.run(&["dead", "list"])
        .succeeds()
        .says("e-2")
        .says("card declined");
    shop.run(&["dead", "list", "--key", "o-1"])
        .succeeds()
        .warns("no dead letter matches");
    shop.run(&["dead", "list", "paymnts"])
        .fails(1)
        .warns("no group `paymnts`, there are `payments`");
}

#[tokio::test]
async fn a_letter_is_shown_whole() {
    let shop = Shop::with_history().await;
    let letter = shop.json(&["dead", "show", "e-2"]);
    assert_eq!(letter["event"]["data"], json!({"cents": 200}));
    assert_eq!(letter["reason"], "card declined: the gateway timed out");
    shop.run(&["dead", "show", "e-2", "--group", "payments"])
        .succeeds()
        .says("card declined")
        .says("\"cents\": 200")
        .says("`ensue dead redrive payments --id e-2`");
    shop.run(&["dead", "show", "e-3"])
        .succeeds()
        .says("00000000  ff 00 41")
        .says("application/cbor");
    let missing = shop.run(&["--json", "dead", "show", "e-1"]).fails(1);
    assert_eq!(missing.error()["kind"], "unknown_dead_letter");
}

#[tokio::test]
async fn redriving_hands_back_what_was_chosen() {
    let shop = Shop::with_history().await;
    let before = contents(&shop.path());
    let chosen = ["dead", "redrive", "payments", "--reason", "timed out"];
    let plan = shop.json(&[&chosen[..], &["--dry-run"]].concat());
    assert_eq!(
        (&plan["dry_run"], &plan["count"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(ids(&plan["letters"]), ["e-2"]);
    assert!(
        contents(&shop.path()) == before,
        "a dry run changed something"
    );

    let done = shop.json(&chosen);
    assert_eq!(
        done,
        json!({"group": "payments", "dry_run": false, "count": 1})
    );
    assert_eq!(ids(&shop.json(&["dead", "list"])), ["e-3"]);
    assert_eq!(shop.json(&chosen)["count"], 0);
}

#[tokio::test]
async fn discarding_needs_a_yes() {
    let shop = Shop::with_history().await;
    let all = ["dead", "discard", "payments", "--all"];
    let before = contents(&shop.path());
    shop.run(&[&all[..], &["--dry-run"]].concat())
        .succeeds()
        .says("would be discarded");
    let refused = shop.run(&[&["--json"], &all[..]].concat()).fails(1);
    assert_eq!(refused.error()["kind"], "unconfirmed");
    assert!(contents(&shop.path()) == before, "nothing was confirmed");

    shop.run(&[&all[..], &["--yes"]].concat())
        .succeeds()
        .says("discarded 2 dead letters");
    assert_eq!(shop.json(&["dead", "list"]), json!([]));
    shop.run(&["dead", "list"])
        .succeeds()
        .warns("no dead letters");
}

#[tokio::test]
async fn which_letters_must_be_said() {
    let shop = Shop::with_history().await;
    shop.run(&["dead", "redrive", "payments"])
        .fails(2)
        .warns("--all");
    shop.run(&["dead", "redrive", "payments", "--all", "--key", "k"])
        .fails(2)
        .warns("contradict");
    shop.run(&["dead", "redrive", "unknown", "--all"])
        .fails(1)
        .warns("no group `unknown`");
}
