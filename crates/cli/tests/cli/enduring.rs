//! `ensue serve` as a process under more than it is made for: its memory stays within bounds, what it says
//! is clear, and nothing with a receipt is lost.

#![allow(clippy::disallowed_types, reason = "they are clients of the server")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::consuming::{World, consume};
use crate::serving::{Serving, answer};
use crate::shop::{BINARY, PATIENCE, Shop, events_of};

/// How many connections there are at a time, if this process may have so many files open.
const CONNECTIONS: usize = 10_000;
const OTHER_FILES: usize = 500;
const THREADS: usize = 8;
/// What one connection may cost, in KiB; a build for tests takes more than another.
const CONNECTION_KIB_MAX: usize = 64;
/// How many bad requests there are.
const FLOOD: usize = 4_000;
/// How much memory the server may need beyond what it had, in KiB.
const GROWTH_KIB_MAX: usize = 192 * 1024;
/// How long mixed load goes on; `ENSUE_SERVER_MINUTES` says otherwise.
const LOAD: Duration = Duration::from_secs(4);

/// What the process has in memory, in KiB: a line of its status.
fn memory(serving: &Serving, line: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
    let value = status.lines().find_map(|it| it.strip_prefix(line));
    let value = value.unwrap().trim_end_matches("kB").trim();
    value.parse().unwrap()
}

fn resident(serving: &Serving) -> usize {
    memory(serving, "VmRSS:")
}

fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|it| it.strip_prefix("Max open files"));
    let soft = line.unwrap().split_whitespace().next().unwrap().to_owned();
    soft.parse().unwrap_or(usize::MAX)
}

/// A server with these settings, which may have as many files open as this process.
fn serve(shop: &Shop, settings: &str) -> Serving {
    let config = shop.path().with_extension("toml");
    std::fs::write(&config, settings).unwrap();
    Serving::start_with(shop, &["--config", config.to_str().unwrap()])
}

fn load(id: &str, more: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/load","type":"e","topic":"load","subject":"k{}"{more}}}"#,
        id.len() % 16
    )
}

/// The status and document of what a server answers to an event.
fn append(stream: &mut TcpStream, event: &str) -> (u16, Value) {
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let answer = answer(stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[track_caller]
fn receipt((status, answer): (u16, Value)) -> String {
    assert_eq!(status, 200, "{answer}");
    answer["position"].as_str().unwrap().to_owned()
}

/// The status and the body of an answer whose length is not known before it ends.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    // To HTTP/1.0 a body is sent as it is, up to the end of the connection.
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn metrics(serving: &Serving) -> String {
    let (status, metrics) = get(&serving.address, "/metrics");
    assert_eq!(status, 200, "{metrics}");
    metrics
}

fn metric(serving: &Serving, name: &str) -> usize {
    let metrics = metrics(serving);
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Where each event of the topic `load` is, by its id.
async fn events(shop: &Shop) -> BTreeMap<String, String> {
    let engine = shop.open().await;
    let mut found = BTreeMap::new();
    for it in events_of(&engine, "load").await {
        let twice = found.insert(it.envelope.id().to_owned(), it.position.to_string());
        assert_eq!(twice, None, "an event is there twice");
    }
    engine.close().await.unwrap();
    found
}

#[tokio::test]
async fn ten_thousand_connections_are_served_with_little_memory_for_each() {
    let shop = Shop::empty();
    let count = CONNECTIONS.min(files_max().saturating_sub(OTHER_FILES));
    let settings = format!("[limits]\nconnections_max = {count}\nheaders_timeout = '10m'\n");
    let serving = serve(&shop, &settings);
    let mut first = TcpStream::connect(&serving.address).unwrap();
    receipt(append(&mut first, &load("first", "")));
    drop(first);
    let before = resident(&serving);
    let each = count / THREADS;
    let (told, during) = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..THREADS)
            .map(|thread| {
                let address = &serving.address;
                scope.spawn(move || {
                    let open = |number: usize| {
                        let mut stream = TcpStream::connect(address).unwrap();
                        let id = format!("{thread}-{number}");
                        let told = (id.clone(), receipt(append(&mut stream, &load(&id, ""))));
                        (stream, told)
                    };
                    (0..each).map(open).collect::<Vec<_>>()
                })
            })
            .collect();
        let open: Vec<_> = opening
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect();
        let during = resident(&serving);
        let mut told = BTreeMap::new();
        for (number, (mut stream, (id, position))) in open.into_iter().enumerate() {
            // Each of them is served still.
            if number % 100 == 0 {
                let again = append(&mut stream, &load(&id, ""));
                assert_eq!(again.1["duplicate"], true);
                assert_eq!(receipt(again), position);
            }
            told.insert(id, position);
        }
        (told, during)
    });
    let connection = (during - before.min(during)) / told.len();
    println!(
        "{} connections, {connection} KiB each, {during} KiB in all",
        told.len()
    );
    assert!(connection <= CONNECTION_KIB_MAX, "{connection} KiB");
    assert_eq!(serving.end(), Some(0));
    let mut found = events(&shop).await;
    found.remove("first").unwrap();
    assert_eq!(found, told);
}

/// Something that is not a good request, another one for each number.
fn bad_request(number: usize) -> Vec<u8> {
    let mut random = number.wrapping_mul(48_271) % 0x7fff_ffff;
    let mut byte = || {
        random = random.wrapping_mul(48_271) % 0x7fff_ffff;
        (random >> 8) as u8
    };
    let post = |kind: &str, body: &str| {
        format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let deep = "[".repeat(20_000);
    match number % 8 {
        0 => (0..200).map(|_| byte()).collect(),
        1 => post("application/cloudevents+json", "{\"specversion\":"),
        2 => post("application/cloudevents-batch+json", &deep),
        3 => post(&format!("text/x-{number}"), "x"),
        4 => format!("GET /v1/nothing-{number}?x={number} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .into_bytes(),
        5 => format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
            "y".repeat(100_000)
        )
        .into_bytes(),
        6 => b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
        _ => [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            (0..300).map(|_| byte()).collect(),
        ]
        .concat(),
    }
}

#[tokio::test]
async fn a_flood_of_bad_requests_costs_neither_memory_nor_anyone_elses_answers() {
    let shop = Shop::empty();
    let serving = serve(
        &shop,
        "[limits]\nheaders_timeout = '1s'\nbody_timeout = '1s'\n",
    );
    let mut good = TcpStream::connect(&serving.address).unwrap();
    let mut told = BTreeMap::new();
    let before = resident(&serving);
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (address, sent) = (&serving.address, &sent);
            scope.spawn(move || {
                for number in (thread..FLOOD).step_by(THREADS) {
                    let mut stream = TcpStream::connect(address).unwrap();
                    // The server may have enough before all of it is sent, and half of them do not wait.
                    let _ = stream.write_all(&bad_request(number));
                    if number % 2 == 0 {
                        let mut start = [0; 12];
                        let read = stream.read(&mut start).unwrap_or(0);
                        assert_ne!(&start[..read], b"HTTP/1.1 200");
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0.. {
            let id = format!("good-{number}");
            let position = receipt(append(&mut good, &load(&id, "")));
            told.insert(id, position);
            if sent.load(Ordering::Relaxed) == FLOOD {
                break;
            }
        }
    });
    let grown = memory(&serving, "VmHWM:").saturating_sub(before);
    println!("{} good requests meanwhile, {grown} KiB more", told.len());
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB");
    // What strangers made up names no metric.
    assert!(metrics(&serving).len() < 64 * 1024);
    assert_eq!(serving.end(), Some(0));
    assert_eq!(events(&shop).await, told);
}

#[tokio::test]
async fn connections_whose_clients_are_gone_without_a_word_end_in_time() {
    const STREAMS: usize = 20;
    let shop = Shop::empty();
    let serving = serve(
        &shop,
        "[limits]\nheaders_timeout = '1s'\nbody_timeout = '3s'\nstalled_timeout = '1s'\nheartbeat = '1s'\n",
    );
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n";
    let mut gone = Vec::new();
    for request in [
        "",
        "GET /v1/ev",
        head,
        &format!(
            "{head}content-type: application/cloudevents+json\r\ncontent-length: 99\r\n\r\n{{"
        ),
        "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        gone.push(stream);
    }
    for _ in 0..STREAMS {
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        let request = b"GET /v1/events/stream?topic=load HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        gone.push(stream);
    }
    // Streams are seen to be gone when they have more to take than their connections keep.
    let large = format!(r#","data":"{}""#, "x".repeat(1024 * 1024));
    let began = Instant::now();
    let mut count = 0;
    loop {
        let mut good = TcpStream::connect(&serving.address).unwrap();
        receipt(append(&mut good, &load(&count.to_string(), &large)));
        count += 1;
        // This client has two.
        let open = metric(&serving, "ensue_http_connections");
        if open <= 2 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{open} connections");
    }
    let held = memory(&serving, "VmHWM:");
    println!("{count} large events, {held} KiB");
    drop(gone);
    assert_eq!(serving.end(), Some(0));
    assert_eq!(events(&shop).await.len(), count);
}

/// A server whose log is on a file system of so many MiB, mounted over `directory` for it alone; none where
/// this user may mount nothing.
fn serve_on_a_small_disk(directory: &Path, mib: usize) -> Option<Serving> {
    // Anyone may mount in a name space of their own, unless the system forbids that.
    let namespace = ["--map-root-user", "--mount"];
    let allowed = Command::new("unshare").args(namespace).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let script = r#"mount -t tmpfs -o size="$1"m none "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c", script, "sh"]);
    command.arg(mib.to_string()).arg(directory).arg(BINARY);
    command.args(["--json", "serve", "--listen", "127.0.0.1:0"]);
    let log = directory.join("log");
    command.env("ENSUE_ENGINE", format!("embedded:{}", log.display()));
    command.env_remove("ENSUE_LOG");
    Some(Serving::started(command))
}

#[test]
fn a_server_on_a_full_disk_says_so_and_goes_on_when_files_are_removed() {
    const MIB: usize = 24;
    let shop = Shop::empty();
    let directory = shop.path().with_extension("disk");
    std::fs::create_dir(&directory).unwrap();
    let Some(serving) = serve_on_a_small_disk(&directory, MIB) else {
        eprintln!("not tried: this user may mount nothing");
        return;
    };
    // The file system as the server sees it.
    let inside = format!("/proc/{}/root{}", serving.pid(), directory.display());
    let filler = Path::new(&inside).join("filler");
    std::fs::write(&filler, vec![7; (MIB - 6) * 1024 * 1024]).unwrap();
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    let large = format!(r#","data":"{}""#, "x".repeat(100_000));
    let mut told = BTreeMap::new();
    let refused = loop {
        let id = told.len().to_string();
        let (status, answer) = append(&mut stream, &load(&id, &large));
        if status != 200 {
            assert_eq!(
                (status, &answer["code"]),
                (507, &json!("disk_full")),
                "{answer}"
            );
            break id;
        }
        told.insert(id, receipt((status, answer)));
        assert!(told.len() < MIB * 10, "the disk is never full");
    };
    assert_eq!(metric(&serving, "ensue_http_events_total"), told.len());
    std::fs::remove_file(&filler).unwrap();
    let (status, answer) = append(&mut stream, &load(&refused, &large));
    assert_eq!(
        answer["duplicate"], false,
        "what was refused did not happen"
    );
    told.insert(refused, receipt((status, answer)));
    let (mut found, mut cursor) = (BTreeMap::new(), "0".to_owned());
    loop {
        let path = format!("/v1/events?topic=load&limit=10&cursor={cursor}");
        let (status, page) = get(&serving.address, &path);
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        for event in page["events"].as_array().unwrap() {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            assert_eq!(found.insert(text("id"), text("ensueposition")), None);
        }
        if page["end"] == true {
            break;
        }
        cursor = page["cursor"].as_str().unwrap().to_owned();
    }
    assert_eq!(found, told);
    assert_eq!(serving.end(), Some(0));
}

/// Reads pages, and streams for a moment, until all is over.
fn read(world: &World, address: &str) {
    let mut cursor = None;
    while !world.is_over() {
        let from = cursor.map_or_else(String::new, |it: String| format!("&cursor={it}"));
        let path = format!("/v1/events?limit=200&filter=subject%20LIKE%20%27k1%25%27{from}");
        let (status, page) = get(address, &path);
        let page: Value = serde_json::from_str(&page).unwrap();
        // Retention removes what was not read in time.
        cursor = (status == 200 && page["end"] == false)
            .then(|| page["cursor"].as_str().unwrap().to_owned());
        let mut stream = TcpStream::connect(address).unwrap();
        let request = b"GET /v1/events/stream?topic=load HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut some = [0; 64 * 1024];
        let _ = stream.read(&mut some);
    }
}

#[test]
fn memory_is_flat_under_mixed_load() {
    let minutes = std::env::var("ENSUE_SERVER_MINUTES").ok();
    let length = minutes.map_or(LOAD, |minutes| {
        Duration::from_secs(60 * minutes.parse::<u64>().unwrap())
    });
    let shop = Shop::empty();
    let mut command = shop.command(&["--json", "serve", "--listen", "127.0.0.1:0"]);
    let options = "retention_bytes=67108864&dedup_window=100000";
    command.env("ENSUE_ENGINE", format!("{}?{options}", shop.url()));
    let serving = Serving::started(command);
    let world = World::at(&serving.address);
    let appended = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let mut samples = Vec::new();
    std::thread::scope(|scope| {
        for publisher in 0..2 {
            let (address, is_over, appended) = (&serving.address, &is_over, &appended);
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let payload = format!(r#","data":"{}""#, "x".repeat(1000));
                for number in 0.. {
                    let id = format!("{publisher}-{number}");
                    receipt(append(&mut stream, &load(&id, &payload)));
                    appended.fetch_add(1, Ordering::Relaxed);
                    if number % 10 == 0 {
                        let mut bad = TcpStream::connect(address).unwrap();
                        let _ = bad.write_all(&bad_request(number / 10 * 8 + number % 7));
                    }
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for _ in 0..2 {
            let world = &world;
            scope.spawn(move || while !world.is_over() && consume(world, 50).is_none() {});
        }
        scope.spawn(|| read(&world, &serving.address));
        let began = Instant::now();
        while began.elapsed() < length {
            // A sample is taken at a time, not when something has happened.
            std::thread::sleep(length / 20);
            let sample = (appended.load(Ordering::Relaxed), resident(&serving));
            println!(
                "{:?}: {} events, {} KiB",
                began.elapsed(),
                sample.0,
                sample.1
            );
            samples.push(sample.1);
        }
        is_over.store(true, Ordering::Relaxed);
        world.end();
    });
    let (warm, rest) = samples.split_at(samples.len() / 2);
    let (warm, rest) = (warm.iter().max().unwrap(), rest.iter().max().unwrap());
    assert!(*rest <= warm + GROWTH_KIB_MAX / 4, "{samples:?}");
    assert_eq!(serving.end(), Some(0));
}
