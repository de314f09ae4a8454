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

    for (to, lag) in [("latest", 0), ("1h", 3), ("2099-01-01", 0)] {
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
    assert_eq!(shop.json(&["groups"])[0]["dead"], 2, "dead letters stay");
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
        &["reset", "nobody", "--to", "latest", "--yes"][..],
        &["delete", "nobody", "--yes"],
    ] {
        let run = shop.run(&[&["--json"], args].concat()).fails(1);
        assert_eq!(run.error()["kind"], "unknown_group");
    }
}
