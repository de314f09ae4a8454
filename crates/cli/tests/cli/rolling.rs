//! Servers that are replaced under load: what was accepted is answered, and keys move before the old
//! process ends.

#![allow(clippy::disallowed_types, reason = "it is a client of the server")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ensue::engine::{Recorded, SharedEngine};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::consuming::settle;
use crate::link::Link;
use crate::remote;
use crate::serving::Serving;
use crate::shop::{PATIENCE, Running, Shop, events_of};

const CLIENTS: usize = 8;
/// How often the server of a directory is replaced.
const ROLLS: usize = 3;
/// How many receipts a server gave at least before it is replaced.
const RECEIPTS: usize = 100;
/// A server that is asked to stop serves until it is asked again: nothing here depends on how fast the
/// machine is.
const PATIENT: &str = "[limits]\ndrain_delay = '1h'\n";

/// What a server answers to an event, unless it is gone.
fn publish(link: &mut Link, id: &str, key: &str) -> Option<(u16, Value)> {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/load", "type": "e", "topic": "load", "subject": key,
    });
    let kind = "application/cloudevents+json";
    link.call("POST", "/v1/events", kind, &event.to_string())
}

/// Waits until a server says that it is not ready.
fn wait_until_leaving(address: &str) {
    let began = Instant::now();
    loop {
        let (head, body) = get(address, "/readyz");
        if head.starts_with("HTTP/1.1 503") {
            assert!(body.contains("stopping"), "{body}");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it is ready all the same");
    }
}

/// What a server answers over a connection of its own: the head, and the body. It listens, though it may
/// say that it is not ready.
fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// A file with these settings, beside the log.
fn configured(directory: &Path) -> String {
    let file = directory.join("ensue.toml");
    std::fs::write(&file, PATIENT).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_server_that_is_asked_to_stop_says_so_and_serves_until_it_is_asked_again() {
    let (shop, directory) = (Shop::empty(), TempDir::new().unwrap());
    let config = configured(directory.path());
    let serving = Serving::start_with(&shop, &["--config", &config]);
    let mut link = Link::to(&serving.address);
    assert_eq!(publish(&mut link, "1", "k").unwrap().0, 200);
    assert!(link.is_open(), "the connection stays");
    let group = "/v1/groups/g/members";
    let join = json!({"topics": ["load"], "lease": "1h"});
    let joined = link.json("POST", group, &join).unwrap().1;
    let member = format!("{group}/{}", joined["member"].as_str().unwrap());
    let take = format!("{member}/take?wait=0s");
    let taken = link.json("POST", &take, &json!({})).unwrap().1;
    serving.signal("-TERM");
    wait_until_leaving(&serving.address);
    // Everything but new members, and more for old ones.
    let (status, refused) = link.json("POST", group, &join).unwrap();
    assert_eq!(status, 503, "{refused}");
    assert!(!link.is_open(), "clients are sent elsewhere");
    assert_eq!(
        publish(&mut link, "2", "k").unwrap().0,
        200,
        "over a new connection"
    );
    let (status, refused) = link.json("POST", &take, &json!({})).unwrap();
    assert_eq!(status, 503, "{refused}");
    let settle = json!({"settle": [{
        "position": taken["deliveries"][0]["position"], "generation": taken["deliveries"][0]["generation"],
    }]});
    let commit = format!("{member}/commit");
    assert_eq!(
        link.json("POST", &commit, &settle).unwrap().0,
        200,
        "what was taken is committed"
    );
    assert!(link.is_open(), "a member keeps its connection to commit");
    // With nothing in its hands it has left.
    let began = Instant::now();
    while !get(&serving.address, "/metrics")
        .1
        .contains("\nensue_http_members 0\n")
    {
        assert!(began.elapsed() < PATIENCE, "the member stays");
    }
    assert_eq!(serving.end(), Some(0));
}

/// Publishes until it is over: each event until it has a receipt.
fn load(
    address: &str,
    name: &str,
    count: &AtomicUsize,
    over: &AtomicBool,
) -> Vec<(String, String)> {
    let (mut link, mut receipts) = (Link::to(address), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let id = format!("{name}-{}", receipts.len());
        let began = Instant::now();
        let receipt = loop {
            if let Some((status, receipt)) = publish(&mut link, &id, name) {
                assert_eq!(status, 200, "{receipt}");
                break receipt;
            }
            assert!(began.elapsed() < PATIENCE, "there is no server");
        };
        // One that was accepted has got its answer: without, it would be there by now.
        assert_eq!(
            receipt["duplicate"], false,
            "`{id}` was accepted without an answer"
        );
        receipts.push((id, receipt["position"].as_str().unwrap().to_owned()));
        count.fetch_add(1, Ordering::Relaxed);
    }
    receipts
}

#[tokio::test]
async fn the_server_of_a_directory_is_replaced_under_load_and_what_it_accepted_was_answered() {
    let shop = Shop::empty();
    let mut serving = Serving::start(&shop);
    let address = serving.address.clone();
    let (count, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut receipts, serving): (Vec<_>, _) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, count, over) = (&address, &count, &over);
                scope.spawn(move || load(address, &format!("c{client}"), count, over))
            })
            .collect();
        let more = |count: &AtomicUsize| {
            let before = count.load(Ordering::Relaxed);
            while count.load(Ordering::Relaxed) < before + RECEIPTS
                && !clients.iter().any(|it| it.is_finished())
            {
                std::thread::yield_now();
            }
        };
        for _ in 0..ROLLS {
            more(&count);
            // It waits for the directory, and for the address with it.
            let args = ["--json", "serve", "--listen", &address, "--wait", "5m"];
            let next = Running::start(shop.command(&args));
            assert_eq!(serving.end(), Some(0));
            serving = Serving::of(next);
        }
        more(&count);
        over.store(true, Ordering::Relaxed);
        let receipts = clients.into_iter().map(|client| client.join().unwrap());
        (receipts.flatten().collect(), serving)
    });
    assert_eq!(serving.end(), Some(0));
    let engine = shop.open().await;
    let found = events_of(&engine, "load").await.into_iter();
    let mut found: Vec<_> = found
        .map(|it| (it.envelope.id().to_owned(), it.position.to_string()))
        .collect();
    engine.close().await.unwrap();
    receipts.sort();
    found.sort();
    assert_eq!(receipts.len(), found.len());
    assert!(receipts == found, "the receipts and the log differ");
}

/// Gives each connection to the next server that says that it is ready, as a load balancer does.
#[derive(Clone)]
struct Balancer {
    address: String,
    servers: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer = Self {
            address: listener.local_addr().unwrap().to_string(),
            servers: Arc::default(),
        };
        let of_task = balancer.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(of_task.clone().carry(client, number));
            }
        });
        balancer
    }

    async fn carry(self, mut client: tokio::net::TcpStream, number: usize) {
        let servers = self.servers.lock().unwrap().clone();
        for step in 0..servers.len() {
            let address = &servers[(number + step) % servers.len()];
            if is_ready(address).await
                && let Ok(mut server) = tokio::net::TcpStream::connect(address).await
            {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                return;
            }
        }
    }
}

async fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else {
        return false;
    };
    let mut text = String::new();
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.is_ok()
        && stream.read_to_string(&mut text).await.is_ok()
        && text.starts_with("HTTP/1.1 200")
}

/// What the clients of the distributed test share.
struct World {
    balancer: String,
    /// How many requests each publisher has made.
    published: Vec<AtomicUsize>,
    /// Publishers end, then consumers.
    is_published: AtomicBool,
    is_over: AtomicBool,
}

/// Publishes events of keys of its own. No request fails.
fn publish_all(world: &World, number: usize) -> usize {
    let mut link = Link::to(&world.balancer);
    let count = &world.published[number];
    while !world.is_published.load(Ordering::Relaxed) {
        let event = count.load(Ordering::Relaxed);
        let (id, key) = (
            format!("{number}-{event:06}"),
            format!("{number}-{}", event % 3),
        );
        let (status, receipt) = publish(&mut link, &id, &key).unwrap();
        assert_eq!(
            (status, &receipt["duplicate"]),
            (200, &json!(false)),
            "{receipt}"
        );
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
    }
    count.load(Ordering::Relaxed)
}

/// Consumes as a member, and as another one when that has to go. Every request is answered.
fn consume_all(world: &World) {
    let mut link = Link::to(&world.balancer);
    let members = "/v1/groups/counting/members";
    'joins: while !world.is_over.load(Ordering::Relaxed) {
        let join = json!({"topics": ["load"], "lease": "30s", "in_flight_max": 20});
        let (status, joined) = link.json("POST", members, &join).unwrap();
        if status == 503 {
            continue;
        }
        assert_eq!(status, 200, "{joined}");
        let member = format!("{members}/{}", joined["member"].as_str().unwrap());
        while !world.is_over.load(Ordering::Relaxed) {
            let take = format!("{member}/take?wait=200ms&state=count");
            let (status, taken) = link.json("POST", &take, &json!({})).unwrap();
            if let 404 | 409 | 503 = status {
                continue 'joins;
            }
            assert_eq!(status, 200, "{taken}");
            let deliveries = taken["deliveries"].as_array().unwrap();
            if deliveries.is_empty() {
                continue;
            }
            let settle: Vec<Value> = deliveries.iter().map(settle).collect();
            let commit = json!({ "settle": settle });
            let committed = link.json("POST", &format!("{member}/commit"), &commit);
            let (status, committed) = committed.unwrap();
            if let 404 | 409 = status {
                continue 'joins;
            }
            assert_eq!(status, 200, "{committed}");
        }
        link.json("DELETE", &member, &json!({}));
    }
}

fn ids(events: &[Recorded]) -> BTreeSet<String> {
    events
        .iter()
        .map(|it| it.envelope.id().to_owned())
        .collect()
}

/// The ids of the events that were counted.
async fn counted(engine: &SharedEngine) -> BTreeSet<String> {
    let counts = events_of(engine, "counts").await;
    counts.iter().map(|it| said(it).0).collect()
}

/// Which event was counted, and as the how manieth of its key.
fn said(counted: &Recorded) -> (String, u64) {
    let said: Value = serde_json::from_slice(counted.envelope.payload()).unwrap();
    let of = said["of"].as_str().unwrap().to_owned();
    (of, said["count"].as_u64().unwrap())
}

/// Replaces a server while clients are at work. Its keys have moved when it is still there.
async fn roll(world: &World, engine: &SharedEngine, mut old: Serving, number: u64) {
    old.signal("-TERM");
    let address = old.address.clone();
    tokio::task::block_in_place(|| wait_until_leaving(&address));
    // Publishers have learnt of it, and of every key events were appended after that.
    let before: Vec<_> = world
        .published
        .iter()
        .map(|it| it.load(Ordering::Relaxed))
        .collect();
    let expected = before.iter().map(|count| count + 8);
    let began = Instant::now();
    for (count, expected) in world.published.iter().zip(expected) {
        while count.load(Ordering::Relaxed) < expected {
            assert!(began.elapsed() < PATIENCE, "a publisher has ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let remote = remote::publish(engine.clone(), number, 20);
    remote.await;
    let appended = ids(&events_of(engine, "load").await);
    let of_remote = remote::KEYS * 20 * (number + 1);
    while !counted(engine).await.is_superset(&appended) || remote::effects(engine).await < of_remote
    {
        assert!(
            began.elapsed() < PATIENCE,
            "keys of the old server have not moved"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let members = tokio::task::block_in_place(|| get(&address, "/metrics").1);
    assert!(members.contains("\nensue_http_members 0\n"), "{members}");
    assert!(old.is_there(), "its keys move before it ends");
    let ended = tokio::task::spawn_blocking(move || old.end()).await;
    assert_eq!(ended.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_of_one_engine_are_replaced_one_by_one_and_no_request_fails() {
    let Some(nats) = servers::Running::find("nats") else {
        return;
    };
    let (shop, directory) = (Shop::empty(), TempDir::new().unwrap());
    let config = configured(directory.path());
    let name = directory.path().file_name().unwrap().to_string_lossy();
    let name = name.trim_start_matches('.').to_owned();
    let url = |process: &str| {
        let copy = directory.path().join(process);
        format!(
            "{}?namespace=rolling_{name}&replica={}",
            nats.url,
            copy.display()
        )
    };
    let start = |process: &str| {
        let mut command = shop.command(&["--json", "--engine", &url(process), "serve"]);
        command.args(["--listen", "127.0.0.1:0", "--config", &config]);
        Serving::started(command)
    };
    let engine = ensue::connect(&url("test")).await.unwrap();
    let balancer = Balancer::start().await;
    let mut olds = Vec::new();
    for process in ["a", "b"] {
        let serving = start(process);
        balancer
            .servers
            .lock()
            .unwrap()
            .push(serving.address.clone());
        olds.push(serving);
    }
    let world = Arc::new(World {
        balancer: balancer.address.clone(),
        published: (0..3).map(|_| AtomicUsize::new(0)).collect(),
        is_published: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
    });
    let publishers = [0, 1, 2].map(|number| {
        let world = world.clone();
        tokio::task::spawn_blocking(move || publish_all(&world, number))
    });
    let consumers = [(); 4].map(|()| {
        let world = world.clone();
        tokio::task::spawn_blocking(move || consume_all(&world))
    });
    let over = watch::Sender::new(false);
    let mut members = Vec::new();
    for _ in 0..2 {
        let remote = format!("ensue://{}?connect_timeout=5m", balancer.address);
        let remote = ensue::connect(&remote).await.unwrap();
        let working = tokio::spawn(remote::work(remote.clone(), over.subscribe()));
        members.push((remote, working));
    }
    let mut news = Vec::new();
    for (number, old) in olds.into_iter().enumerate() {
        let new = start(&format!("new-{number}"));
        let mut of_balancer = balancer.servers.lock().unwrap().clone();
        of_balancer.retain(|it| *it != old.address);
        of_balancer.extend([new.address.clone(), old.address.clone()]);
        *balancer.servers.lock().unwrap() = of_balancer;
        news.push(new);
        roll(&world, &engine, old, number as u64).await;
    }
    world.is_published.store(true, Ordering::Relaxed);
    let mut published = 0;
    for publisher in publishers {
        published += publisher.await.unwrap();
    }
    let began = Instant::now();
    while counted(&engine).await.len() < published {
        assert!(began.elapsed() < PATIENCE, "some were not counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.is_over.store(true, Ordering::Relaxed);
    for consumer in consumers {
        consumer.await.unwrap();
    }
    over.send_replace(true);
    for (remote, working) in members {
        working.await.unwrap();
        remote.close().await.unwrap();
    }
    check_counts(&engine, published).await;
    engine.close().await.unwrap();
}

/// What was counted was counted once and in order.
async fn check_counts(engine: &SharedEngine, published: usize) {
    assert_eq!(events_of(engine, "load").await.len(), published);
    let mut of_key: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for counted in events_of(engine, "counts").await {
        let counts = of_key.entry(counted.envelope.key().to_owned()).or_default();
        counts.push(said(&counted));
    }
    assert_eq!(of_key.values().map(Vec::len).sum::<usize>(), published);
    for (key, counted) in of_key {
        assert!(counted.is_sorted(), "{key} out of order: {counted:?}");
        let counts = counted.iter().map(|(_, count)| *count);
        assert!(counts.eq(1..=counted.len() as u64), "{key}: {counted:?}");
    }
}
