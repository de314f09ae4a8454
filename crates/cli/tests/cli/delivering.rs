//! Webhooks of a server that is killed while it delivers.

#![allow(
    clippy::disallowed_types,
    reason = "it is a client of the server, and a receiver of its webhooks"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use crate::killing::kills;
use crate::serving::{Serving, answer};
use crate::shop::{PATIENCE, Shop};

/// How often the server is killed (`ENSUE_SERVER_KILLS` says otherwise), and how much it delivers in
/// between at least.
const KILLS: usize = 4;
const DELIVERIES: usize = 150;
const KEYS: usize = 5;

/// What one request of the server was.
struct Received {
    id: String,
    body: String,
    is_taken: bool,
}

/// A receiver that refuses every seventh request.
#[derive(Clone, Default)]
struct Receiver(Arc<(Mutex<Vec<Received>>, Condvar)>);

impl Receiver {
    fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let this = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let this = this.clone();
                std::thread::spawn(move || this.serve(&stream));
            }
        });
        (receiver, address)
    }

    /// Answers requests until the connection ends.
    fn serve(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((id, body)) = request(&mut reader) {
            let (received, changed) = &*self.0;
            let mut received = received.lock().unwrap();
            let is_taken = received.len() % 7 != 6;
            received.push(Received { id, body, is_taken });
            drop(received);
            changed.notify_all();
            let status = if is_taken { "200 OK" } else { "500 Not Now" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Waits until what was received is so.
    fn until(&self, is: impl Fn(&[Received]) -> bool) {
        let (received, changed) = &*self.0;
        let waits = |received: &mut Vec<Received>| !is(received);
        let waited = changed.wait_timeout_while(received.lock().unwrap(), PATIENCE, waits);
        let (received, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "only {} requests", received.len());
    }

    fn count(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }
}

/// The `webhook-id` and the body of a request; nothing when the connection has ended.
pub(crate) fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String)> {
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("webhook-id", value)) => id = value.to_owned(),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((id, String::from_utf8(body).unwrap()))
}

/// Whether the event is in the log; the server may have been killed.
fn publish(stream: &mut TcpStream, number: usize) -> Option<()> {
    let key = number % KEYS;
    let event = format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"/load","type":"e","topic":"load","subject":"k-{key}"}}"#
    );
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    answer(stream)?.starts_with("HTTP/1.1 200").then_some(())
}

fn serve(shop: &Shop, config: &Path) -> Serving {
    let config = config.to_str().unwrap();
    let args = [
        "--json",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        config,
    ];
    let mut command = shop.command(&args);
    command.env("SHOP_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    Serving::started(command)
}

#[test]
fn every_event_is_delivered_in_order_and_under_its_id_while_the_server_is_killed() {
    let (receiver, address) = Receiver::start();
    let shop = Shop::empty();
    let config = shop.path().with_extension("toml");
    let text = format!(
        r#"
        [webhooks]
        allow = ["127.0.0.1"]
        [[webhooks.endpoint]]
        name = "shop"
        url = "http://{address}/"
        topics = ["load"]
        secrets = {{ env = "SHOP_SECRET" }}
        start = "earliest"
        attempts = 1000
        backoff = "1ms..20ms"
        "#
    );
    std::fs::write(&config, text).unwrap();
    let kills = kills(KILLS);
    let mut next = 0;
    for round in 0..kills {
        let serving = serve(&shop, &config);
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        let before = receiver.count();
        std::thread::scope(|scope| {
            let publishing = scope.spawn(move || {
                // An event without a receipt is sent again, to the next server.
                let mut number = next;
                while publish(&mut stream, number).is_some() {
                    number += 1;
                }
                number
            });
            // At another moment in each round, and never before something is on its way.
            let enough = before + DELIVERIES + 37 * (round % 50);
            receiver.until(|received| received.len() >= enough);
            serving.signal("-KILL");
            next = publishing.join().unwrap();
        });
        drop(serving);
    }
    let serving = serve(&shop, &config);
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    publish(&mut stream, next).unwrap();
    receiver.until(|received| {
        let taken = received.iter().filter(|it| it.is_taken);
        taken
            .map(|it| it.id.as_str())
            .collect::<BTreeSet<_>>()
            .len()
            > next
    });
    assert_eq!(serving.end(), Some(0));
    check(&receiver.0.0.lock().unwrap(), next);
}

/// Every event was taken; those of a key for the first time in order; each always as the same.
fn check(received: &[Received], last: usize) {
    let mut bodies = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut newest = [None; KEYS];
    for one in received {
        let body = bodies.entry(&one.id).or_insert(&one.body);
        assert_eq!(*body, &one.body);
        let number: usize = one.id.parse().unwrap();
        let newest = &mut newest[number % KEYS];
        if one.is_taken && taken.insert(number) {
            let expected = newest.map_or(number % KEYS, |newest| newest + KEYS);
            assert_eq!(number, expected, "an event was overtaken by one of its key");
            *newest = Some(number);
        }
    }
    assert_eq!(taken, (0..=last).collect());
}
