//! `ensue reset` and `ensue delete`.

use serde_json::json;

use crate::shop::{Shop, contents};

#[tokio::test]
async fn a_group_moves_where_it_is_told() {
    let shop = Shop::with_history().await;
    let before = contents(&shop.path());
    let to_earliest = ["reset", "payments", "--to", "earliest"];
    shop.run(&[&to_earliest[..], &["--dry-run"]].concat())
        .succeeds()
        .says("handled again");
    shop.run(&to_earliest).fails(1).warns("--yes");
    assert!(contents(&shop.path()) == before, "nothing was confirmed");

    let moved = shop.json(&[&to_earliest[..], &["--yes"]].concat());
    assert_eq!(moved["dry_run"], false);
    let group = &shop.json(&["groups"])[0];
    assert_eq!(group["lag"], 3);
    shop.run(&["groups"]).succeeds().says("behind");

    for (to, lag) in [("latest", 0), ("1h", 3)] {
        shop.run(&["reset", "payments", "--to", to, "--yes"])
            .succeeds();
        assert_eq!(shop.json(&["groups"])[0]["lag"], lag, "{to}");
    }
    let second = shop.json(&["tail", "--key", "o-2"])["ensueposition"]
        .as_str()
        .unwrap()
        .to_owned();
    shop.run(&["reset", "payments", "--to", &second, "--yes"])
        .succeeds();
    assert_eq!(shop.json(&["groups"])[0]["lag"], 2);
    let dead = &shop.json(&["groups"])[0]["dead"];
    assert_eq!(*dead, 0, "dead letters are handled again with the rest");
}

#[tokio::test]
async fn what_a_reset_means_is_told_before_it_happens() {
    let shop = Shop::with_history().await;
    let plan = shop.json(&["reset", "payments", "--to", "earliest", "--dry-run"]);
    assert_eq!(
        (&plan["again"], &plan["dead_again"], &plan["dead_kept"]),
        (&json!(1), &json!(2), &json!(0))
    );
    assert_eq!(
        (&plan["effects"], &plan["state"]),
        (&json!("hold_back"), &json!("keep"))
    );
    assert_eq!(
        (&plan["skipped"], &plan["scheduled"]),
        (&json!(0), &json!(1))
    );
    shop.run(&["reset", "payments", "--to", "earliest", "--dry-run"])
        .succeeds()
        .says("1 event will be handled again")
        .says("effects are held back")
        .says("2 dead letters will be handled again")
        .says("1 scheduled event of the log stay scheduled");
    shop.run(&[
        "reset",
        "payments",
        "--to",
        "earliest",
        "--effects",
        "publish",
        "--yes",
    ])
    .succeeds()
    .says("published again, with new ids")
    .says("duplicates within the dedup window");
}

#[tokio::test]
async fn a_place_that_the_log_does_not_have_is_refused() {
    let shop = Shop::with_history().await;
    let before = contents(&shop.path());
    for (to, kind) in [
        ("18446744073709551615", "beyond_end"),
        ("2099-01-01", "in_the_future"),
    ] {
        for how in ["--dry-run", "--yes"] {
            let run = shop.run(&["--json", "reset", "payments", "--to", to, how]);
            let error = run.fails(1).error();
            assert_eq!(error["kind"], kind, "{to} {how}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("`latest`"), "{message}");
        }
    }
    let tail = shop.run(&["--json", "tail", "--from", "4711"]).fails(1);
    assert_eq!(tail.error()["kind"], "beyond_end");
    assert!(contents(&shop.path()) == before, "nothing happened");
    shop.run(&["status"]).succeeds().says("healthy");
}

#[tokio::test]
async fn a_group_is_forgotten_only_when_confirmed() {
    let shop = Shop::with_history().await;
    shop.run(&["delete", "payments", "--dry-run"])
        .succeeds()
        .says("2 dead letters");
    shop.run(&["delete", "payments"])
        .fails(1)
        .warns("not confirmed");
    assert_eq!(shop.json(&["groups"]).as_array().map(Vec::len), Some(1));
    let deleted = shop.json(&["delete", "payments", "--yes"]);
    assert_eq!(deleted["dead"], 2);
    assert_eq!(shop.json(&["groups"]), json!([]));
    shop.run(&["groups"]).succeeds().warns("no groups yet");
}

#[tokio::test]
async fn an_unknown_group_is_named() {
    let shop = Shop::with_history().await;
    for args in [
        &["reset", "unknown", "--to", "latest", "--yes"][..],
        &["delete", "unknown", "--yes"],
    ] {
        let run = shop.run(&[&["--json"], args].concat()).fails(1);
        assert_eq!(run.error()["kind"], "unknown_group");
    }
}
