//! A log on a server, those who publish to it, those who handle it, and what must come of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue::engine::{Query, SharedEngine, Subscription};

use ensue::error::GroupError;
use ensue::{Codec, Envelope, Error};
use servers::Running;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::member::{self, Child};

/// How long everything may take after the last kill: only what hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(900);
const EVENTS: &str = "events";
pub(super) const EFFECTS: &str = "effects";
pub(super) const GROUP: &str = "handlers";

pub(super) struct Scene {
    pub(super) service: Arc<Running>,
    url: String,
    engine: SharedEngine,
    copies: TempDir,
    number: std::sync::atomic::AtomicUsize,
}

/// Members in an engine of their own, from when the server lets them.
pub(super) struct Crew {
    over: watch::Sender<bool>,
    opened: watch::Receiver<bool>,
    working: JoinHandle<()>,
}

impl Scene {
    pub(super) async fn set(name: &str) -> Option<Self> {
        let service = Running::find(name)?;
        let copies = tempfile::tempdir().unwrap();
        let url = service.namespace(&format!("kills_{:016x}", fastrand::u64(..)));
        let url = format!("{url}&lease=2s&connect_timeout=10m");
        let own = format!("{url}&replica={}", copies.path().join("own").display());
        let engine = ensue::connect(&own).await.unwrap();
        Some(Self {
            service: Arc::new(service),
            url,
            engine,
            copies,
            number: Default::default(),
        })
    }

    /// The URL for one more process.
    fn url(&self) -> String {
        let number = self
            .number
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let copy = self.copies.path().join(number.to_string());
        format!("{}&replica={}", self.url, copy.display())
    }

    /// Each of `publishers` appends `count` events of each of its own four keys, and goes on only
    /// when an event was acknowledged.
    pub(super) fn publish(&self, publishers: u64, count: u64, pause: Duration) -> JoinHandle<u64> {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let publish = |publisher: u64| {
                let engine = engine.clone();
                tokio::spawn(async move {
                    for number in 0..count {
                        let event = |key: u64| event(&format!("{publisher}-{key}"), number);
                        let batch = (0..4).map(|key| event(key).into()).collect();
                        engine.append(batch).await.unwrap();
                        tokio::time::sleep(pause).await;
                    }
                })
            };
            let all: Vec<_> = (0..publishers).map(publish).collect();
            for one in all {
                one.await.unwrap();
            }
            publishers * 4 * count
        })
    }

    pub(super) fn crew(&self, members: usize, pause: Duration) -> Crew {
        Crew::start(self.url(), members, pause)
    }

    pub(super) fn child(&self) -> Child {
        Child::start(&self.url(), false)
    }

    pub(super) fn child_that_waits(&self) -> Child {
        Child::start(&self.url(), true)
    }

    /// When the publishers are done, everything is handled: once, and in order per key.
    pub(super) async fn verify(&self, publishers: JoinHandle<u64>) {
        let count = tokio::time::timeout(PATIENCE, publishers).await;
        let count = count.expect("the publishers go on").unwrap();
        self.until_effects(count).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        for topic in [EVENTS, EFFECTS] {
            let keys = self.keys(topic).await;
            for (key, numbers) in &keys {
                let expected: Vec<u64> = (0..numbers.len() as u64).collect();
                assert_eq!(numbers, &expected, "{topic} of {key}: once and in order");
            }
            let found: usize = keys.values().map(Vec::len).sum();
            assert_eq!(found as u64, count, "all {topic}");
        }
    }

    /// Waits until there are exactly so many effects.
    pub(super) async fn until_effects(&self, count: u64) {
        let began = Instant::now();
        loop {
            let keys = self.keys(EFFECTS).await;
            let found = keys.values().map(Vec::len).sum::<usize>() as u64;
            assert!(found <= count, "{found} effects of {count} events");
            if found == count {
                return;
            }
            let status = self.engine.status().await.unwrap();
            assert!(
                began.elapsed() < PATIENCE,
                "{found} of {count} events were handled: {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The numbers of each key's events, in the order of the log.
    async fn keys(&self, topic: &str) -> BTreeMap<String, Vec<u64>> {
        let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut query = Query {
            topics: Some(topic.parse().unwrap()),
            ..Query::default()
        };
        loop {
            let page = self.engine.read(query.clone()).await.unwrap();
            for it in &page.events {
                let number = std::str::from_utf8(it.envelope.payload()).unwrap();
                let numbers = keys.entry(it.envelope.key().to_owned()).or_default();
                numbers.push(number.parse().unwrap());
            }
            if page.is_end {
                return keys;
            }
            query.from = page.next;
        }
    }
}

impl Crew {
    fn start(url: String, members: usize, pause: Duration) -> Self {
        let over = watch::Sender::new(false);
        let told = over.subscribe();
        let (is_open, opened) = watch::channel(false);
        let working = tokio::spawn(async move {
            let engine = ensue::connect(&url).await.unwrap();
            is_open.send_replace(true);
            let work = |_| tokio::spawn(member::work(engine.clone(), pause, told.clone()));
            let members: Vec<_> = (0..members).map(work).collect();
            for member in members {
                member.await.unwrap();
            }
            engine.close().await.unwrap();
        });
        Self {
            over,
            opened,
            working,
        }
    }

    /// Waits until its engine is connected: from then on it waits for its server as long as it takes.
    pub(super) async fn opened(&mut self) {
        let opened = self.opened.wait_for(|&is_open| is_open);
        let opened = tokio::time::timeout(PATIENCE, opened).await;
        opened.expect("a crew connects").expect("its task lives");
    }

    pub(super) async fn leave(self) {
        self.over.send_replace(true);
        let left = tokio::time::timeout(PATIENCE, self.working).await;
        left.expect("the members leave").unwrap();
    }
}

fn event(key: &str, number: u64) -> Envelope {
    numbered(EVENTS, key, number)
}

/// An event with a number for its payload.
pub(super) fn numbered(topic: &str, key: &str, number: u64) -> Envelope {
    let builder = Envelope::builder(topic, "numbered").key(key);
    let payload = number.to_string().into_bytes();
    builder.payload(Codec::Json, payload).build().unwrap()
}

pub(super) fn subscription(in_flight_max: usize) -> Subscription {
    Subscription {
        group: GROUP.into(),
        topics: vec![EVENTS.parse().unwrap()],
        types: None,
        start: Default::default(),
        in_flight_max,
    }
}

pub(super) fn is_fenced(error: &Error) -> bool {
    matches!(error, Error::Group(GroupError::Fenced { .. }))
}
