//! What a command says when it cannot do what it was asked to.

use serde_json::json;

use crate::shop::Shop;

#[test]
fn a_directory_that_is_not_there_is_not_created() {
    let nowhere = Shop::empty();
    for args in [
        &["status"][..],
        &["topics"],
        &["tail"],
        &["tail", "--follow"],
        &["groups"],
        &["dead", "list"],
        &["dead", "redrive", "g", "--all"],
        &["reset", "g", "--to", "latest", "--yes"],
        &["delete", "g", "--yes"],
        &["schedule", "list"],
        &["schedule", "cancel", "x"],
        &["check"],
        &["salvage", "--to", "elsewhere"],
        &["describe"],
    ] {
        nowhere
            .run(args)
            .fails(1)
            .warns("there is no log in")
            .warns("publish");
        let run = nowhere.run(&[&["--json"], args].concat()).fails(1);
        assert_eq!(run.error()["kind"], "no_log", "{args:?}");
        assert!(!nowhere.path().exists(), "{args:?} created the directory");
    }
}

#[tokio::test]
async fn a_directory_without_a_log_is_not_turned_into_one() {
    let shop = Shop::empty();
    std::fs::create_dir(shop.path()).unwrap();
    std::fs::write(shop.path().join("notes.txt"), "mine").unwrap();
    for args in [
        &["status"][..],
        &["tail"],
        &["check"],
        &["salvage", "--to", "elsewhere"],
        &["reset", "g", "--to", "latest", "--yes"],
    ] {
        let run = shop.run(&[&["--json"], args].concat()).fails(1);
        assert_eq!(run.error()["kind"], "no_log", "{args:?}");
    }
    assert_eq!(std::fs::read_dir(shop.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn writing_into_an_owned_directory_names_the_owner() {
    let shop = Shop::with_history().await;
    let app = shop.open().await;
    for (args, undone) in [
        (
            &["dead", "redrive", "payments", "--all"][..],
            "nothing was redriven",
        ),
        (
            &["dead", "discard", "payments", "--all", "--yes"],
            "nothing was discarded",
        ),
        (
            &["reset", "payments", "--to", "latest", "--yes"],
            "the group was not moved",
        ),
        (
            &["delete", "payments", "--yes"],
            "the group was not deleted",
        ),
        (&["schedule", "cancel", "r-1"], "nothing was cancelled"),
        (
            &["publish", "--topic", "t", "--type", "e", "--data", "1"],
            "was not published",
        ),
    ] {
        let run = shop.run(&[&["--json"], args].concat()).fails(1);
        let error = run.error();
        assert_eq!(error["kind"], "locked", "{args:?}");
        assert_eq!(error["pid"], std::process::id(), "{args:?}");
        assert!(
            error["message"].as_str().unwrap().contains(undone),
            "{error}"
        );
        shop.run(args)
            .fails(1)
            .warns("help: if that is `ensue serve`, do it through the server, with `--engine ensue://127.0.0.1:3678`")
            .warns("otherwise inside that program");
    }
    app.close().await.unwrap();
    shop.run(&["dead", "redrive", "payments", "--all"])
        .succeeds();
}

#[test]
fn wrong_usage_is_exit_code_two_in_both_forms() {
    let shop = Shop::empty();
    for args in [
        &["tail", "--from", "yesterday"][..],
        &["tail", "a..b"],
        &["tail", "--follow", "--until", "5"],
        &["publish", "--topic", "t", "--type", "e"],
        &[
            "publish", "--topic", "t", "--type", "e", "--data", "1", "--file", "f",
        ],
        &["frobnicate"],
    ] {
        shop.run(args).fails(2).warns("error: ");
        let run = shop.run(&[&["--json"], args].concat()).fails(2);
        assert_eq!(run.error()["kind"], "usage", "{args:?}");
    }
}

#[test]
fn an_engine_that_is_none_is_explained() {
    let shop = Shop::empty();
    for (url, kind) in [
        ("oracle:db", "url"),
        ("data", "url"),
        ("memory:?colour=red", "url"),
    ] {
        let run = shop.run(&["--json", "--engine", url, "topics"]).fails(1);
        assert_eq!(run.error()["kind"], kind, "{url}");
    }
    let run = shop.run(&["--engine", "./data", "topics"]).fails(1);
    run.warns("embedded:./data");
}

#[tokio::test]
async fn hostile_names_do_not_reach_the_terminal() {
    let shop = Shop::empty();
    let engine = shop.open().await;
    // Control characters in attributes are refused; what turns the direction of text is none.
    let evil = crate::shop::event("t", "e\u{202e}", "k\u{202e}", "id", b"\"\x1b[31m\"");
    engine.append(vec![evil.into()]).await.unwrap();
    engine.close().await.unwrap();
    for args in [&["tail"][..], &["tail", "--payload"]] {
        let run = shop.run(args).succeeds();
        assert!(!run.out.contains(['\u{1b}', '\u{202e}']), "{run:?}");
    }
    assert_eq!(shop.json(&["tail"])["type"], json!("e\u{202e}"));
}

#[test]
fn a_timer_without_a_time_is_wrong_usage() {
    let shop = Shop::empty();
    let args = [
        "publish",
        "--topic",
        "t",
        "--type",
        "t.happened",
        "--data",
        "1",
    ];
    shop.run(&[&args[..], &["--timer", "t"]].concat())
        .fails(2)
        .warns("--at");
    assert!(!shop.path().exists(), "nothing was published");
}
