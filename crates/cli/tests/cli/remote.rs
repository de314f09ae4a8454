//! Every command through a server, while an app is at work there: `--engine ensue://host:port`.

use std::time::{Duration, Instant};

use ensue::engine::{Commit, Delivery, SharedEngine, Subscription};
use ensue::error::GroupError;
use ensue::{Codec, Envelope, Error};
use serde_json::Value;
use tokio::sync::watch;

use crate::serving::Serving;
use crate::shop::{PATIENCE, Run, Shop, events_of};

/// How often the server is killed while members work; `ENSUE_REMOTE_KILLS` says otherwise.
const KILLS: usize = 3;
const PUBLISHERS: u64 = 3;
/// Each publishes so many events of each of its keys, for each kill.
const EVENTS: u64 = 60;
pub(crate) const KEYS: u64 = 4;
pub(crate) const EVENT_TOPIC: &str = "events";
const EFFECT_TOPIC: &str = "effects";
const GROUP: &str = "handlers";

/// What a command does through the server.
fn run(shop: &Shop, serving: &Serving, args: &[&str]) -> Run {
    let engine = format!("ensue://{}", serving.address);
    shop.run(&[&["--json", "--engine", &engine], args].concat())
}

#[tokio::test]
async fn every_command_works_through_the_server_while_an_app_is_at_work() {
    let shop = Shop::with_history().await;
    let serving = Serving::start(&shop);
    let app = ensue::connect(&format!("ensue://{}", serving.address))
        .await
        .unwrap();
    let member = app.join(subscription("payments", "orders")).await.unwrap();
    let run = |args: &[&str]| run(&shop, &serving, args);
    let json = |args: &[&str]| run(args).succeeds().json();

    let publish = [
        "publish", "--topic", "orders", "--type", "t", "--id", "x", "--data", "1.10",
    ];
    assert_eq!(json(&publish)["duplicate"], false);
    assert_eq!(json(&publish)["duplicate"], true);
    let later = [
        &publish[..5],
        &["--data", "{}", "--after", "9d", "--timer", "soon"],
    ]
    .concat();
    run(&later).succeeds();
    let status = json(&["status"]);
    assert_eq!(status["url"], format!("ensue://{}", serving.address));
    let topics = json(&["topics"]);
    assert!(topics.to_string().contains("photos"), "{topics}");
    assert_eq!(json(&["tail", "orders", "-n", "1"])["id"], "x");
    assert_eq!(json(&["groups"])[0]["name"], "payments");
    let dead = run(&["dead", "list"]).succeeds().out;
    assert!(dead.contains("card declined"), "{dead}");
    assert_eq!(
        json(&["dead", "redrive", "payments", "--id", "e-2"])["count"],
        1
    );
    let redriven = member.next(10).await.unwrap();
    assert!(
        redriven.iter().any(|it| it.envelope.id() == "e-2"),
        "the app handles it"
    );
    assert_eq!(
        json(&["dead", "discard", "payments", "--all", "--yes"])["count"],
        1
    );
    let scheduled = run(&["schedule", "list"]).succeeds().out;
    assert!(scheduled.contains("soon"), "{scheduled}");
    assert_eq!(json(&["schedule", "cancel", "soon"])["cancelled"], 1);
    let moved = json(&["reset", "payments", "--to", "latest", "--yes"]);
    assert_eq!(moved["dry_run"], false);
    let fenced = member.next(1).await.unwrap_err();
    assert!(is_fenced(&fenced), "{fenced}");
    drop(member);
    let refused = run(&["reset", "nobody", "--to", "latest", "--yes"]).fails(1);
    assert_eq!(refused.error()["kind"], "unknown_group");
    let deleted = Instant::now();
    // The member that was fenced may take a moment to be gone.
    while run(&["delete", "payments", "--yes"]).code != Some(0) {
        assert!(deleted.elapsed() < PATIENCE, "it has members for ever");
    }
    let findings = json(&["doctor"]);
    assert!(
        findings.to_string().contains("stable storage"),
        "{findings}"
    );
    app.close().await.unwrap();
    assert_eq!(serving.end(), Some(0));
    let refused = shop
        .run(&[
            "--json",
            "--engine",
            "ensue://127.0.0.1:1?connect_timeout=10ms",
            "status",
        ])
        .fails(1);
    assert_eq!(refused.error()["kind"], "unavailable");
}

fn subscription(group: &str, topic: &str) -> Subscription {
    Subscription {
        group: group.into(),
        topics: vec![topic.parse().unwrap()],
        types: None,
        start: Default::default(),
        in_flight_max: 16,
    }
}

fn is_fenced(error: &Error) -> bool {
    matches!(error, Error::Group(GroupError::Fenced { .. }))
}

/// Whether the server is away, or was when it mattered.
pub(crate) fn is_away(error: &Error) -> bool {
    matches!(
        error,
        Error::Engine(ensue::error::EngineError::Unavailable { .. })
    )
}

pub(crate) fn numbered(topic: &str, key: &str, number: u64) -> Envelope {
    let builder = Envelope::builder(topic, "numbered").key(key);
    let payload = number.to_string().into_bytes();
    builder.payload(Codec::Json, payload).build().unwrap()
}

fn number_of(envelope: &Envelope) -> u64 {
    std::str::from_utf8(envelope.payload())
        .unwrap()
        .parse()
        .unwrap()
}

/// Publishes events of keys of its own, each when the one before is acknowledged.
pub(crate) async fn publish(engine: SharedEngine, publisher: u64, count: u64) {
    for number in 0..count {
        let event = |key: u64| numbered(EVENT_TOPIC, &format!("{publisher}-{key}"), number).into();
        let batch: Vec<_> = (0..KEYS).map(event).collect();
        // The same events, until they are there: their ids tell.
        while let Err(error) = engine.append(batch.clone()).await {
            assert!(is_away(&error), "{error}");
        }
    }
}

/// Handles events: one effect for each, in the commit that settles it. The effects' ids are random, so
/// that handling one twice shows.
pub(crate) async fn work(engine: SharedEngine, mut over: watch::Receiver<bool>) {
    'joins: while !*over.borrow() {
        let member = match engine.join(subscription(GROUP, EVENT_TOPIC)).await {
            Ok(member) => member,
            Err(error) if is_away(&error) || is_fenced(&error) => continue,
            Err(error) => panic!("{error}"),
        };
        loop {
            let next = tokio::select! {
                next = member.next(8) => next,
                _ = over.wait_for(|over| *over) => break,
            };
            let taken = match next {
                Ok(taken) => taken,
                Err(error) if is_fenced(&error) => continue 'joins,
                Err(error) if is_away(&error) => continue,
                Err(error) => panic!("{error}"),
            };
            match member.commit(handled(&taken)).await {
                Ok(_) => {}
                // In doubt, or not done: what was not done is delivered again.
                Err(error) if is_fenced(&error) || is_away(&error) => continue 'joins,
                Err(error) => panic!("{error}"),
            }
        }
        member.leave().await.unwrap();
    }
}

fn handled(taken: &[Delivery]) -> Commit {
    let effect = |delivery: &Delivery| {
        let envelope = &delivery.envelope;
        numbered(EFFECT_TOPIC, envelope.key(), number_of(envelope)).into()
    };
    Commit {
        settled: taken.iter().map(|delivery| delivery.position).collect(),
        effects: taken.iter().map(effect).collect(),
        ..Commit::default()
    }
}

/// How many effects there are; of each key once and in order.
pub(crate) async fn effects(engine: &SharedEngine) -> u64 {
    let mut next = std::collections::BTreeMap::new();
    for it in events_of(engine, EFFECT_TOPIC).await {
        let expected = next.entry(it.envelope.key().to_owned()).or_insert(0);
        assert_eq!(number_of(&it.envelope), *expected, "{}", it.envelope.key());
        *expected += 1;
    }
    next.values().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_handled_once_and_in_order_whatever_the_server_is_killed_at() {
    let kills = std::env::var("ENSUE_REMOTE_KILLS").ok();
    let kills: usize = kills.map_or(KILLS, |kills| kills.parse().unwrap());
    let shop = Shop::empty();
    let mut serving = Serving::start(&shop);
    let address = serving.address.clone();
    let url = format!("ensue://{address}?lease=2s&connect_timeout=5m");
    let engine = ensue::connect(&url).await.unwrap();
    let count = EVENTS * (kills as u64 + 1);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish(engine.clone(), publisher, count)))
        .collect();
    let over = watch::Sender::new(false);
    let mut members = Vec::new();
    for _ in 0..2 {
        let engine = ensue::connect(&url).await.unwrap();
        let of_engine = [(); 2].map(|()| tokio::spawn(work(engine.clone(), over.subscribe())));
        members.push((engine, of_engine));
    }
    for _ in 0..kills {
        // Never before something was done since the last time.
        let before = effects(&engine).await;
        let began = Instant::now();
        while effects(&engine).await == before && !publishers.iter().all(|it| it.is_finished()) {
            assert!(began.elapsed() < PATIENCE, "nothing is handled any more");
        }
        serving.signal("-KILL");
        drop(serving);
        serving = Serving::at(&shop, &address, &[]);
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let expected = PUBLISHERS * KEYS * count;
    let began = Instant::now();
    while effects(&engine).await < expected {
        assert!(began.elapsed() < PATIENCE, "some were not handled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    over.send_replace(true);
    for (engine, of_engine) in members {
        for member in of_engine {
            member.await.unwrap();
        }
        engine.close().await.unwrap();
    }
    assert_eq!(effects(&engine).await, expected);
    let status = engine.status().await.unwrap();
    let group = status.group(GROUP).unwrap();
    assert_eq!((group.lag, group.dead, group.members.len()), (0, 0, 0));
    engine.close().await.unwrap();
    assert_eq!(serving.end(), Some(0));
    let checked: Value = shop.run(&["--json", "check"]).succeeds().json();
    assert!(checked.is_object(), "{checked}");
}
