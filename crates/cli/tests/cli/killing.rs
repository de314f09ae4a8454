//! `ensue serve` killed at random instants, while clients of every kind keep lists of what they were told.

#![allow(clippy::disallowed_types, reason = "they are clients of the server")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ensue::engine::{Recorded, SharedEngine};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::consuming::{World, consume};
use crate::link::Link;
use crate::remote::{self, EVENT_TOPIC, KEYS, is_away, numbered};
use crate::serving::Serving;
use crate::shop::{PATIENCE, Shop, events_of};

/// How often the server is killed; `ENSUE_SERVER_KILLS` says otherwise.
const KILLS: usize = 50;
const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 2;
const BATCH: usize = 5;
/// How many keys the events that HTTP clients consume have.
const LOAD_KEYS: usize = 16;
/// How many receipts clients get at the most from one start of the server to the next kill.
const RECEIPTS_MAX: usize = 60;
/// In every so many rounds, each kind of client gets something done before the kill.
const WHOLE_ROUND: usize = 10;

/// What a client has a receipt for: which event, and where it is.
type Receipt = (String, String);

/// How often the server is killed.
pub(crate) fn kills(by_default: usize) -> usize {
    let kills = std::env::var("ENSUE_SERVER_KILLS").ok();
    kills.map_or(by_default, |kills| kills.parse().unwrap())
}

/// Publishes `count` events at a time, each time until there is a receipt, and until all is over.
fn publish(
    world: &World,
    (name, count): (&str, usize),
    receipts: &AtomicUsize,
    is_over: &AtomicBool,
) -> Vec<Receipt> {
    let mut told = Vec::new();
    let mut link = None;
    for number in 0.. {
        let ids: Vec<String> = (0..count)
            .map(|it| format!("{name}-{number}-{it}"))
            .collect();
        let mut is_in_doubt = false;
        let results = loop {
            link = link.or_else(|| world.link());
            match link.as_mut().map(|link| send(link, &ids)) {
                Some(Some(results)) => break results,
                // It was asked, and not answered.
                Some(None) => is_in_doubt = true,
                // The server is on its way back.
                None => std::thread::yield_now(),
            }
            link = None;
        };
        // All of a batch or nothing, and nothing is there that was not sent.
        let is_duplicate = &results[0]["duplicate"];
        assert!(*is_duplicate == false || is_in_doubt, "{results:?}");
        for (id, result) in ids.into_iter().zip(&results) {
            assert_eq!(result["duplicate"], *is_duplicate, "{results:?}");
            told.push((id, result["position"].as_str().unwrap().to_owned()));
        }
        receipts.fetch_add(1, Ordering::Relaxed);
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    told
}

/// What the server says of events; nothing when it is gone.
fn send(link: &mut Link, ids: &[String]) -> Option<Vec<Value>> {
    let event = |id: &String| {
        let key = id.bytes().map(usize::from).sum::<usize>() % LOAD_KEYS;
        json!({
            "specversion": "1.0", "id": id, "source": "/load", "type": "e", "topic": "load",
            "subject": format!("k{key}"), "data": {"of": id},
        })
    };
    let (body, kind) = match ids {
        [id] => (event(id), "application/cloudevents+json"),
        ids => (
            ids.iter().map(event).collect(),
            "application/cloudevents-batch+json",
        ),
    };
    let (status, answer) = link.call("POST", "/v1/events", kind, &body.to_string())?;
    assert_eq!(status, 200, "{answer}");
    Some(match answer["results"].as_array() {
        Some(results) => results.clone(),
        None => vec![answer],
    })
}

/// Publishes over gRPC until all is over. Counts the batches that there are receipts for.
async fn publish_remote(engine: SharedEngine, over: watch::Receiver<bool>, told: &AtomicU64) {
    for number in 0.. {
        let event = |key: u64| numbered(EVENT_TOPIC, &format!("k{key}"), number).into();
        let batch: Vec<_> = (0..KEYS).map(event).collect();
        while let Err(error) = engine.append(batch.clone()).await {
            assert!(is_away(&error), "{error}");
        }
        told.fetch_add(1, Ordering::Relaxed);
        if *over.borrow() {
            return;
        }
    }
}

/// Waits for it to happen.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// Kills the server again and again; the one that is there in the end.
fn kill(
    shop: &Shop,
    mut serving: Serving,
    kills: usize,
    (receipts, committed, remote): (&AtomicUsize, &AtomicUsize, &AtomicU64),
) -> Serving {
    let address = serving.address.clone();
    let mut random = 1_usize;
    for round in 0..kills {
        random = random.wrapping_mul(48_271) % 0x7fff_ffff;
        let enough = receipts.load(Ordering::Relaxed) + 1 + random % RECEIPTS_MAX;
        let before = (
            committed.load(Ordering::Relaxed),
            remote.load(Ordering::Relaxed),
        );
        until("nothing is appended any more", || {
            receipts.load(Ordering::Relaxed) >= enough
        });
        if round % WHOLE_ROUND == 0 {
            until("nothing is consumed any more", || {
                committed.load(Ordering::Relaxed) > before.0
            });
            until("nothing comes over gRPC any more", || {
                remote.load(Ordering::Relaxed) > before.1
            });
        }
        serving.signal("-KILL");
        drop(serving);
        serving = Serving::at(shop, &address, &[]);
    }
    serving
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_with_a_receipt_is_lost_or_twice_though_the_server_is_killed_at_random() {
    let (kills, shop) = (kills(KILLS), Shop::empty());
    let serving = Serving::start(&shop);
    let world = World::at(&serving.address);
    let url = format!("ensue://{}?lease=2s&connect_timeout=5m", serving.address);
    let engine = ensue::connect(&url).await.unwrap();
    let (published, over) = (watch::Sender::new(false), watch::Sender::new(false));
    let member = tokio::spawn(remote::work(engine.clone(), over.subscribe()));
    let of_remote = std::sync::Arc::new(AtomicU64::new(0));
    let publisher = tokio::spawn({
        let (engine, over, told) = (engine.clone(), published.subscribe(), of_remote.clone());
        async move { publish_remote(engine, over, &told).await }
    });
    let (receipts, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let publish = |name: String, count: usize| {
        let (world, receipts, is_over) = (&world, &receipts, &is_over);
        move || publish(world, (&name, count), receipts, is_over)
    };
    let (serving, told) = std::thread::scope(|scope| {
        for _ in 0..CONSUMERS {
            let world = &world;
            scope.spawn(move || {
                while !world.is_over() {
                    // The server is gone, and may be on its way back.
                    if consume(world, usize::MAX).is_none() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| scope.spawn(publish(format!("p{number}"), 1)))
            .chain([scope.spawn(publish("batch".to_owned(), BATCH))])
            .collect();
        let counters = (&receipts, &world.committed, &*of_remote);
        let serving = kill(&shop, serving, kills, counters);
        is_over.store(true, Ordering::Relaxed);
        let told = publishers.into_iter().flat_map(|it| it.join().unwrap());
        let told: Vec<Receipt> = told.collect();
        until("not all is consumed", || world.is_drained());
        world.end();
        (serving, told)
    });
    published.send_replace(true);
    publisher.await.unwrap();
    let batches = of_remote.load(Ordering::Relaxed);
    until_effects(&engine, batches * KEYS).await;
    over.send_replace(true);
    member.await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(serving.end(), Some(0));
    shop.run(&["check"]).succeeds();
    check(&shop, told).await;
}

/// Waits until every event that came over gRPC was handled, once and in order.
async fn until_effects(engine: &SharedEngine, expected: u64) {
    let began = Instant::now();
    while remote::effects(engine).await < expected {
        assert!(began.elapsed() < PATIENCE, "some were not handled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(remote::effects(engine).await, expected);
}

/// The log has what clients have receipts for, where these say, and nothing else; each has one effect, in
/// the order of its key.
async fn check(shop: &Shop, mut told: Vec<Receipt>) {
    let engine = shop.open().await;
    let load = events_of(&engine, "load").await;
    let counts = events_of(&engine, "counts").await;
    engine.close().await.unwrap();
    let of = |it: &Recorded| (it.envelope.id().to_owned(), it.position.to_string());
    let mut found: Vec<Receipt> = load.iter().map(of).collect();
    found.sort();
    told.sort();
    assert_eq!(told.len(), found.len());
    assert!(told == found, "the receipts and the log differ");
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in &load {
        let of_key = expected.entry(event.envelope.key()).or_default();
        of_key.push(event.envelope.id());
    }
    let mut handled: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for effect in &counts {
        let said: Value = serde_json::from_slice(effect.envelope.payload()).unwrap();
        let of_key = handled.entry(effect.envelope.key()).or_default();
        of_key.push(said["of"].as_str().unwrap().to_owned());
        assert_eq!(said["count"], of_key.len(), "{said}");
    }
    assert_eq!(expected.len(), handled.len());
    for (key, ids) in expected {
        assert!(ids == handled[key], "{key}: not once each, in order");
    }
}
