//! `ensue tail --follow`, and readers that go away.

use std::io::{BufRead, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;

use crate::shop::{Running, Shop, event};

#[tokio::test(flavor = "multi_thread")]
async fn following_shows_what_another_process_appends() {
    let shop = Shop::with_history().await;
    let app = shop.open().await;
    let tail = Running::start(shop.command(&["--json", "tail", "orders", "-n", "1", "--follow"]));
    let id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["id"].clone();
    assert_eq!(id(tail.line()), "e-3");
    for n in 0..3 {
        let other = event("photos", "photo.taken", "", &format!("p-{n}"), b"1");
        let order = event("orders", "order.created", "o", &format!("new-{n}"), b"1");
        app.append(vec![other.into(), order.into()]).await.unwrap();
        assert_eq!(id(tail.line()), format!("new-{n}"));
    }
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn following_outlives_the_owner_and_sees_the_next_one() {
    let shop = Shop::with_history().await;
    let tail = Running::start(shop.command(&["tail", "orders", "--from", "earliest", "--follow"]));
    for seen in ["e-1", "e-2", "e-3"] {
        assert!(tail.line().contains(seen));
    }
    for id in ["first", "second"] {
        let app = shop.open().await;
        let order = event("orders", "order.created", "o", id, b"1");
        app.append(vec![order.into()]).await.unwrap();
        app.close().await.unwrap();
        let line = tail.line();
        assert!(line.contains(id), "{line}");
    }
}

#[tokio::test]
async fn a_limit_ends_a_follow() {
    let shop = Shop::with_history().await;
    let run = shop.run(&[
        "--json", "tail", "orders", "--from", "earliest", "--follow", "--limit", "2",
    ]);
    assert_eq!(run.succeeds().out.lines().count(), 2);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_command_quietly() {
    let shop = Shop::empty();
    let engine = shop.open().await;
    for batch in 0..20 {
        let events = (0..1_000).map(|n| {
            let payload = format!("\"{}\"", "x".repeat(100));
            event("t", "e", "", &format!("{batch}-{n}"), payload.as_bytes()).into()
        });
        engine.append(events.collect()).await.unwrap();
    }
    engine.close().await.unwrap();
    for args in [
        &["tail", "--from", "earliest"][..],
        &["--json", "tail", "--from", "earliest"],
    ] {
        let mut command = shop.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert!(line.contains("0-0"), "{line}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
        assert_eq!(said, "");
    }
}
