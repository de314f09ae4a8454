//! A server whose disk is full, hangs, or breaks.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ensue::engine::SharedEngine;
use ensue::{Engine, engine::Query};
use ensue_engine::storage::{Failure, Fault, Handle, Locking, Memory, Op, Storage};
use ensue_engine::{Embedded, Settings};
use ensue_server::{Config, Running, Server};
use serde_json::{Value, json};

use crate::client::Client;
use crate::member::MemberClient;
use crate::site::{PATIENCE, event};

const CLIENTS: usize = 4;

/// A server over a disk of the test's.
struct Device {
    engine: Engine,
    running: Running,
}

impl Device {
    async fn new(disk: Arc<dyn Storage>, config: Config) -> Self {
        let mut settings = Settings::default();
        settings.segment_bytes = 256 * 1024;
        let engine = Embedded::open(disk, settings).await.unwrap();
        let engine = Engine::from(Arc::new(engine) as SharedEngine);
        let server = Server::new(engine.clone()).config(config);
        let server = server.listen("127.0.0.1:0").unwrap();
        Self {
            running: server.start().await.unwrap(),
            engine,
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.running.address()).await
    }

    /// Where each event of a topic is, by its id.
    async fn events(&self, topic: &str) -> BTreeMap<String, String> {
        let mut query = Query {
            topics: Some(topic.parse().unwrap()),
            ..Query::default()
        };
        let mut found = BTreeMap::new();
        loop {
            let page = self.engine.shared().read(query.clone()).await.unwrap();
            for it in page.events {
                let twice = found.insert(it.envelope.id().to_owned(), it.position.to_string());
                assert_eq!(twice, None, "an event is there twice");
            }
            query.from = page.next;
            if page.is_end {
                return found;
            }
        }
    }

    async fn end(self) {
        self.running.stop().await;
        self.engine.close().await.unwrap();
    }
}

fn load(id: &str, bytes: usize) -> String {
    let payload = "x".repeat(bytes);
    event(id, &format!(r#","topic":"load","data":"{payload}""#))
}

fn position(receipt: &Value) -> String {
    receipt["position"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_full_disk_is_said_and_the_same_server_appends_when_there_is_room_again() {
    let disk = Fault::new();
    let device = Device::new(Arc::new(disk.clone()), Config::default()).await;
    let mut client = device.client().await;
    client
        .event("/v1/events", event("o-1", r#","topic":"orders""#))
        .await
        .ok();
    let mut member = MemberClient::at(device.client().await, "g", json!({})).await;
    let taken = member.take("").await;
    disk.set_capacity(Some(disk.used() + 1024 * 1024));
    let (mut told, mut refused) = (BTreeMap::new(), Vec::new());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = device.client().await;
        for count in 0.. {
            let id = format!("{number}-{count}");
            let answer = client.event("/v1/events", load(&id, 10_000)).await;
            if answer.status == 507 {
                answer.problem(507, "disk_full");
                refused.push(id);
                break;
            }
            told.insert(id, position(&answer.ok()));
        }
        clients.push(client);
    }
    let effect = json!({"effects": [{"event": {"type": "e", "topic": "out"}}]});
    // What is on its way may be small enough to fit.
    let large = json!({"effects": [{"event": {
        "type": "e", "topic": "out", "data": "x".repeat(100_000)}}]});
    let committed = member.settle(&taken[0], large).await;
    committed.problem(507, "disk_full");
    assert_eq!(client.get("/livez").await.status, 200);
    let page = client.get("/v1/events?topic=load&limit=1").await.ok();
    assert_eq!(page["events"][0]["id"], "0-0");
    disk.work_again();
    for (client, id) in clients.iter_mut().zip(refused) {
        let receipt = client.event("/v1/events", load(&id, 10_000)).await.ok();
        assert_eq!(
            receipt["duplicate"], false,
            "what was refused did not happen"
        );
        told.insert(id, position(&receipt));
    }
    member.settle(&taken[0], effect).await.ok();
    assert_eq!(device.events("load").await, told);
    assert_eq!(device.events("out").await.len(), 1);
    device.end().await;
}

#[tokio::test]
async fn a_disk_that_breaks_is_said_and_nothing_with_a_receipt_is_lost() {
    let disk = Fault::new();
    let device = Device::new(Arc::new(disk.clone()), Config::default()).await;
    let mut client = device.client().await;
    let mut told = BTreeMap::new();
    for id in ["1", "2", "3"] {
        let receipt = client.event("/v1/events", load(id, 10)).await.ok();
        told.insert(id.to_owned(), position(&receipt));
    }
    disk.fail(Op::SyncData, 1, Failure::Eio);
    let answer = client.event("/v1/events", load("4", 10)).await;
    let problem = answer.json();
    assert!(answer.status.is_server_error(), "{problem}");
    let problem = client.event("/v1/events", load("5", 10)).await.json();
    assert_eq!(problem["code"], "stopped", "{problem}");
    // A supervisor sees it; what is durable can be read.
    assert_eq!(client.get("/readyz").await.status, 503);
    let page = client.get("/v1/events?topic=load").await.ok();
    assert_eq!(page["events"].as_array().unwrap().len(), 3);
    device.running.stop().await;
    drop(device.engine);
    disk.crash(7);
    let device = Device::new(Arc::new(disk), Config::default()).await;
    let mut found = device.events("load").await;
    // It had no receipt: it may be there, or not.
    found.remove("4");
    assert_eq!(found, told);
    device.end().await;
}

/// A disk on which nothing is made durable while it hangs.
#[derive(Clone, Debug, Default)]
struct Hanging {
    disk: Memory,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Hanging {
    /// Until that is dropped: a test that fails meanwhile ends, too.
    fn hang(&self) -> Hangs<'_> {
        self.set(true);
        Hangs(self)
    }

    fn set(&self, hangs: bool) {
        let (is_hanging, changed) = &*self.gate;
        *is_hanging.lock().unwrap() = hangs;
        changed.notify_all();
    }

    fn handle(&self, file: io::Result<Arc<dyn Handle>>) -> io::Result<Arc<dyn Handle>> {
        let gate = self.gate.clone();
        file.map(|file| Arc::new(HangingFile { file, gate }) as Arc<dyn Handle>)
    }
}

struct Hangs<'a>(&'a Hanging);

impl Drop for Hangs<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

struct HangingFile {
    file: Arc<dyn Handle>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl fmt::Debug for HangingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl Storage for Hanging {
    fn lock(&self) -> io::Result<Locking> {
        self.disk.lock()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.handle(self.disk.open(name))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.handle(self.disk.open_read(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Handle>> {
        self.handle(self.disk.create(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        self.disk.sync_dir(directory)
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

impl Handle for HangingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(slices, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (is_hanging, changed) = &*self.gate;
        drop(
            changed
                .wait_while(is_hanging.lock().unwrap(), |hangs| *hangs)
                .unwrap(),
        );
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.file.preallocate(bytes)
    }
}

#[tokio::test]
async fn while_a_disk_hangs_appends_are_in_doubt_and_everything_else_goes_on() {
    let disk = Hanging::default();
    let mut config = Config::default();
    // Long enough for what needs no disk, also on a busy machine.
    config.limits.request_timeout = Duration::from_secs(4);
    let device = Device::new(Arc::new(disk.clone()), config).await;
    let mut other = device.client().await;
    let before = other.event("/v1/events", load("before", 10)).await.ok();
    let hangs = disk.hang();
    let appending = (0..8 * CLIENTS).map(|number| {
        let client = device.client();
        async move {
            let mut client = client.await;
            let body = load(&number.to_string(), 1000);
            let answer = client.event("/v1/events", body).await;
            answer.problem(504, "timeout");
            (client, number.to_string())
        }
    });
    let in_doubt = futures_util::future::join_all(appending).await;
    // What needs no disk is answered meanwhile, and nothing is held for those who have their answer.
    assert_eq!(other.get("/livez").await.status, 200);
    let page = other.get("/v1/events?topic=load").await.ok();
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    let held = async {
        loop {
            let metrics = other.get("/metrics").await;
            if metrics.text().contains("ensue_http_bodies_bytes 0\n") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
    drop(hangs);
    let mut told = BTreeMap::from([("before".to_owned(), position(&before))]);
    for (mut client, id) in in_doubt {
        // Whether it happened or not: it is there once.
        let receipt = client.event("/v1/events", load(&id, 1000)).await.ok();
        told.insert(id, position(&receipt));
    }
    assert_eq!(device.events("load").await, told);
    device.end().await;
}
