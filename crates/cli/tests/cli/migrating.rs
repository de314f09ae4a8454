//! `ensue migrate`: between directories, and where servers are there to be tested, with them.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ensue::engine::{Append, Appended, Commit, Query, Retry, StateWrite, Subscription};
use ensue::error::AppendError;
use ensue::{Clock, Envelope, Error, Expect, Position, SharedEngine, Start};
use serde_json::Value;
use tempfile::TempDir;

use crate::shop::{Run, Running, Shop, contents, event};

/// What can be asked of a log without changing it, with ids instead of positions.
async fn describe(url: &str) -> Vec<String> {
    let engine = ensue::connect_reader(url).await.unwrap();
    let mut said = Vec::new();
    let mut query = Query::default();
    loop {
        let page = engine.read(query.clone()).await.unwrap();
        for event in &page.events {
            let it = &event.envelope;
            let (key, id, time) = (it.key(), it.id(), it.time());
            said.push(format!(
                "{} {key} {id} {time} {:?}",
                it.topic(),
                it.payload()
            ));
        }
        if page.is_end {
            break;
        }
        query.from = page.next;
    }
    let status = engine.status().await.unwrap();
    for group in &status.groups {
        said.push(format!(
            "{} {:?} lag {} retrying {} parked {} dead {} next {:?}",
            group.name,
            group.topics,
            group.lag,
            group.retrying,
            group.parked,
            group.dead,
            group.next_due
        ));
    }
    let letters = engine.dead_letters(None, Default::default()).await.unwrap();
    for it in letters {
        said.push(format!(
            "{} {} {:?} {} {} {} {} {}",
            it.group,
            it.event.id(),
            it.cause,
            it.attempts,
            it.reason,
            it.died,
            it.parked,
            it.redriven
        ));
    }
    for it in engine.scheduled(1_000).await.unwrap() {
        said.push(format!("at {} {}", it.at, it.name));
    }
    for key in ["o-1", "o-4"] {
        let cell = engine.state("payments", "orders", key, "total").await;
        said.push(format!("{key} {:?}", cell.unwrap()));
    }
    engine.close().await.unwrap();
    said
}

async fn join(engine: &SharedEngine, group: &str) -> Box<dyn ensue::engine::Member> {
    let subscription = Subscription {
        group: group.into(),
        topics: vec!["orders".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 1_000,
    };
    engine.join(subscription).await.unwrap()
}

/// The shop, in which `payments` has state, a retry in an hour and an event behind it, and with
/// `more` events that no group has seen.
async fn shop(more: usize) -> Shop {
    let shop = Shop::with_history().await;
    let engine = shop.open().await;
    for (key, id) in [
        ("o-4", "e-5"),
        ("o-4", "e-6"),
        ("o-2", "e-7"),
        ("o-1", "e-8"),
    ] {
        let order = event("orders", "order.created", key, id, b"{}");
        engine.append(vec![order.into()]).await.unwrap();
    }
    let member = join(&engine, "payments").await;
    let mut left = 3;
    while left > 0 {
        let mut commit = Commit::default();
        for delivery in member.next(10).await.unwrap() {
            left -= 1;
            let id = delivery.envelope.id().to_owned();
            let value = Some(id.clone().into());
            commit.state.push(StateWrite {
                topic: "orders".into(),
                key: delivery.envelope.key().into(),
                name: "total".into(),
                value,
            });
            match id.as_str() {
                "e-5" => commit.retries.push(Retry {
                    position: delivery.position,
                    attempt: 1,
                    due: Clock::system().now().plus(Duration::from_secs(3_600)),
                    reason: "try later".into(),
                    envelope: delivery.envelope,
                }),
                "e-6" => commit.parked.push(delivery),
                _ => commit.settled.push(delivery.position),
            }
        }
        member.commit(commit).await.unwrap();
    }
    member.leave().await.unwrap();
    for batch in (0..more).collect::<Vec<_>>().chunks(1_000) {
        let events = batch.iter().map(|number| -> Append {
            let key = format!("k-{}", number % 97);
            event(
                "photos",
                "photo.taken",
                &key,
                &format!("m-{number}"),
                &[b'1'; 200],
            )
            .into()
        });
        engine.append(events.collect()).await.unwrap();
    }
    engine.close().await.unwrap();
    shop
}

fn migrate(shop: &Shop, from: &str, to: &str) -> Run {
    shop.run(&["--json", "migrate", "--from", from, "--to", to])
}

fn migrated(shop: &Shop, from: &str, to: &str) -> Value {
    migrate(shop, from, to).succeeds().json()
}

/// Starts a migration and kills it when the target, of which a copy lies at `copy`, has that many
/// records; whether it did not end before.
///
/// To another directory it is so fast that it is stopped while its copy is looked at: a look takes
/// time, on a busy machine more than the rest of the copying. To a server it is not stopped, which
/// would cost it its lease.
async fn kill_at(shop: &Shop, (from, to, copy): (&str, &str, &Path), records: u64) -> bool {
    let args = ["--json", "migrate", "--from", from, "--to", to];
    let mut running = Running::start(shop.command(&args));
    let copy = format!("embedded:{}", copy.display());
    let is_stopped = to.starts_with("embedded:");
    loop {
        if is_stopped {
            stop(&running.child);
        }
        let begun = Instant::now();
        let end = match ensue::connect_reader(&copy).await {
            Ok(reader) => reader.status().await.map(|it| it.end),
            Err(error) => Err(error),
        };
        if end.is_ok_and(|end| end >= Position::new(records).into()) {
            break;
        }
        if running.child.try_wait().unwrap().is_some() {
            return false;
        }
        if is_stopped {
            signal(&running.child, "-CONT");
            tokio::time::sleep(begun.elapsed() / 2).await;
        }
    }
    // SIGKILL.
    drop(running);
    true
}

/// Stops a process, and waits until it stands still or has ended.
fn stop(child: &Child) {
    signal(child, "-STOP");
    let stat = format!("/proc/{}/stat", child.id());
    let stands = || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        !matches!(state, Some('R' | 'S' | 'D'))
    };
    while !stands() {
        std::thread::yield_now();
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([name, &id]).status();
    assert!(sent.unwrap().success());
}

fn directory(of: &TempDir, name: &str) -> String {
    format!("embedded:{}", of.path().join(name).display())
}

#[tokio::test]
async fn a_directory_is_copied_whole_and_once() {
    let (shop, other) = (shop(0).await, TempDir::new().unwrap());
    let to = directory(&other, "log");
    let before = contents(&shop.path().join("log"));
    let first = migrated(&shop, &shop.url(), &to);
    assert_eq!(first["events"], 8);
    assert_eq!((&first["groups"], &first["dead"]), (&1.into(), &2.into()));
    assert_eq!(
        (&first["retrying"], &first["parked"]),
        (&1.into(), &2.into()),
        "{first}"
    );
    assert_eq!(first["scheduled"], 1);
    assert_eq!(first["keeps_append_times"], true);
    assert!(
        contents(&shop.path().join("log")) == before,
        "the source is only read"
    );
    assert_eq!(describe(&shop.url()).await, describe(&to).await);

    let again = migrated(&shop, &shop.url(), &to);
    assert_eq!(again["was_complete"], true);
    assert_eq!(again["checksum"], first["checksum"]);
    let people = shop.run(&["migrate", "--from", &shop.url(), "--to", &to]);
    people.succeeds().says("both sides are the same");
    assert_eq!(describe(&shop.url()).await, describe(&to).await);
}

/// An append that expects its key to be new.
async fn expecting_absence(url: &str, key: &str) -> ensue::Result<Vec<Appended>> {
    let engine = ensue::connect(url).await.unwrap();
    let event = Envelope::builder("accounts", "account.opened").key(key);
    let append = Append {
        expect: Some(Expect::Absent),
        ..event.build().unwrap().into()
    };
    let outcome = engine.append(vec![append]).await;
    engine.close().await.unwrap();
    outcome
}

#[tokio::test]
async fn a_copy_of_a_log_that_was_trimmed_does_not_take_a_key_for_new() {
    let (shop, other) = (Shop::empty(), TempDir::new().unwrap());
    let from = directory(&other, "from");
    let trimming = format!("{from}?segment_bytes=65536&retention_bytes=1");
    // The second checkpoint lets go of what lies before the first.
    for round in 0..3 {
        let engine = ensue::connect(&trimming).await.unwrap();
        for number in 0..20 {
            let event = Envelope::builder("accounts", "account.opened")
                .key(format!("{round}-{number}"))
                .payload(ensue::Codec::Json, vec![b'7'; 20_000]);
            engine
                .append(vec![event.build().unwrap().into()])
                .await
                .unwrap();
        }
        engine.close().await.unwrap();
    }
    let is_unknown = |outcome: ensue::Result<Vec<Appended>>| {
        matches!(
            outcome,
            Err(Error::Append(AppendError::VersionRemoved { .. }))
        )
    };
    let answer = expecting_absence(&from, "0-0").await;
    assert!(is_unknown(answer), "the source was not trimmed");
    let copies = [
        directory(&other, "copy"),
        directory(&other, "copy of the copy"),
    ];
    for (from, to) in [(&from, &copies[0]), (&copies[0], &copies[1])] {
        migrated(&shop, from, to);
        for key in ["0-0", "new"] {
            let answer = expecting_absence(to, key).await;
            assert!(is_unknown(answer), "{key} in {to}");
        }
    }
    // What is not a copy of such a log knows.
    let whole = directory(&other, "whole");
    expecting_absence(&whole, "0-0").await.unwrap();
    let copy = directory(&other, "copy of the whole");
    migrated(&shop, &whole, &copy);
    expecting_absence(&copy, "new").await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let (shop, full, other) = (shop(0).await, shop(5).await, TempDir::new().unwrap());
    let to = directory(&other, "log");
    let error = migrate(&shop, &shop.url(), &full.url()).fails(1).error();
    assert_eq!(error["kind"], "migration");
    assert!(
        error["message"].as_str().unwrap().contains("empty target"),
        "{error}"
    );

    for (from, to, part) in [
        (shop.url(), shop.url(), "the same"),
        (shop.url(), format!("{}/inner", shop.url()), "lies in"),
        (shop.url(), format!("{}/.", shop.url()), "lies in"),
        (directory(&other, "nothing"), to.clone(), "nothing in"),
        (shop.url(), "memory:".to_owned(), "ends with its process"),
    ] {
        let error = migrate(&shop, &from, &to).fails(1).error();
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
    assert!(!Path::new(&other.path().join("nothing")).exists());

    let owner = shop.open().await;
    let error = migrate(&shop, &shop.url(), &to).fails(1).error();
    assert_eq!(
        (&error["kind"], &error["pid"]),
        (&"locked".into(), &std::process::id().into())
    );
    owner.close().await.unwrap();

    migrated(&shop, &shop.url(), &to);
    let engine = ensue::connect(&to).await.unwrap();
    let late = event("photos", "photo.taken", "", "late", b"{}");
    engine.append(vec![late.into()]).await.unwrap();
    engine.close().await.unwrap();
    let error = migrate(&shop, &shop.url(), &to).fails(1).error();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("holds something else"),
        "{error}"
    );
}

#[tokio::test]
async fn a_copy_that_was_killed_goes_on_and_is_closed_until_it_is_whole() {
    let (shop, other) = (shop(100_000).await, TempDir::new().unwrap());
    let to = directory(&other, "log");
    let copy = other.path().join("log");
    for records in [1, 5_000, 30_000] {
        let is_killed = kill_at(&shop, (&shop.url(), &to, &copy), records).await;
        assert!(is_killed, "it was too fast");
        let error = ensue::connect(&to).await.unwrap_err().to_string();
        assert!(error.contains("holds a part of"), "{error}");
    }
    let last = migrated(&shop, &shop.url(), &to);
    assert_eq!(last["events"], 100_008);
    assert!(last["resumed_at"].as_u64().unwrap() >= 29_000, "{last}");
    assert_eq!(describe(&shop.url()).await, describe(&to).await);
}

/// There and back again, killed on the way; then the service goes on.
#[allow(dead_code, reason = "which servers there are depends on the features")]
async fn there_and_back(server: &str) {
    let Some(server) = servers::Running::find(server) else {
        return;
    };
    let (shop, other) = (shop(40_000).await, TempDir::new().unwrap());
    let mut attempt = 0;
    let (to, url) = loop {
        attempt += 1;
        let copy = other.path().join(format!("copy-{attempt}"));
        let name = other.path().file_name().unwrap().to_string_lossy();
        let name = name.trim_start_matches('.');
        let url = format!(
            "{}?namespace=migrate_{name}_{attempt}&lease=1s&replica=",
            server.url
        );
        let to = format!("{url}{}", copy.display());
        let mut is_killed = true;
        for records in [4, 3_000, 10_000] {
            is_killed &= kill_at(&shop, (&shop.url(), &to, &copy), records).await;
        }
        match ensue::connect(&to).await {
            Err(error) if error.to_string().contains("holds a part of") && is_killed => {
                break (to, url);
            }
            // On a busy machine the last look came when all was copied.
            Ok(_) if attempt < 10 => {}
            outcome => panic!("{outcome:?}, killed in time: {is_killed}"),
        }
    };
    let back = directory(&other, "back");
    let living = format!("{url}{}", other.path().join("living").display());
    let first = migrated(&shop, &shop.url(), &to);
    assert_eq!(first["events"], 40_008, "{first}");
    assert!(first["resumed_at"].as_u64().unwrap() > 5_000, "{first}");
    assert_eq!(describe(&shop.url()).await, describe(&to).await);
    assert_eq!(migrated(&shop, &shop.url(), &to)["was_complete"], true);

    let living = ensue::connect(&living).await.unwrap();
    let error = migrate(&shop, &to, &back).fails(1).error();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("other processes work on"),
        "{error}"
    );
    living.close().await.unwrap();

    let home = migrated(&shop, &to, &back);
    assert_eq!(home["checksum"], first["checksum"]);
    assert_eq!(describe(&shop.url()).await, describe(&back).await);
    for url in [&to, &back] {
        goes_on(url).await;
    }
}

/// The group `payments` gets what it had left to do, and nothing twice.
#[allow(dead_code, reason = "which servers there are depends on the features")]
async fn goes_on(url: &str) {
    let engine = ensue::connect(url).await.unwrap();
    let known = event("orders", "order.created", "o-1", "e-8", b"{}");
    let appended = engine.append(vec![known.into()]).await.unwrap();
    assert!(appended[0].is_duplicate, "the dedup window came along");
    let next = event("orders", "order.created", "o-9", "next", b"{}");
    engine.append(vec![next.into()]).await.unwrap();
    let dead = |ids: &[&str]| ensue::engine::DeadLetterFilter {
        ids: ids.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    assert_eq!(engine.redrive("payments", dead(&["e-2"])).await.unwrap(), 1);
    let member = join(&engine, "payments").await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let mut commit = Commit::default();
        for delivery in member.next(10).await.unwrap() {
            seen.push(delivery.envelope.id().to_owned());
            commit.settled.push(delivery.position);
        }
        member.commit(commit).await.unwrap();
    }
    seen.sort();
    // The redriven one with what was parked behind it, and the new one; the retry is not due.
    assert_eq!(seen, ["e-2", "e-7", "next"]);
    member.leave().await.unwrap();
    engine.close().await.unwrap();
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn to_kafka_and_back() {
    there_and_back("kafka").await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread")]
async fn to_nats_and_back() {
    there_and_back("nats").await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn to_postgres_and_back() {
    there_and_back("postgres").await;
}

#[cfg(feature = "rabbitmq")]
#[tokio::test(flavor = "multi_thread")]
async fn to_rabbitmq_and_back() {
    there_and_back("rabbitmq").await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn to_redis_and_back() {
    there_and_back("redis").await;
}
