//! Consumers over HTTP while `ensue serve` is killed, and while they die themselves.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::killing::kills;
use crate::link::Link;
use crate::serving::Serving;
use crate::shop::{Shop, events_of};

/// How often the server is killed; `ENSUE_SERVER_KILLS` says otherwise.
const KILLS: usize = 5;
const CONSUMERS: usize = 4;
const KEYS: usize = 16;
/// How many events are handled from one kill to the next.
const EVENTS: usize = 120;

/// What all clients see.
pub(crate) struct World {
    /// Where the server is.
    address: Mutex<String>,
    /// Commits that were answered.
    pub(crate) committed: AtomicUsize,
    is_over: AtomicBool,
}

impl World {
    pub(crate) fn at(address: &str) -> Self {
        Self {
            address: Mutex::new(address.to_owned()),
            committed: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// A connection to the server, unless it is gone.
    pub(crate) fn link(&self) -> Option<Link> {
        Link::open(&self.address.lock().unwrap())
    }

    /// Consumers end.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether the group has handled everything.
    pub(crate) fn is_drained(&self) -> bool {
        let mut link = self.link().unwrap();
        let (_, group) = link.json("GET", "/v1/groups/counting", &json!({})).unwrap();
        let left = ["lag", "in_flight", "retrying", "parked"];
        left.iter().all(|what| group[what] == 0)
    }
}

/// Consumes as one member, until the server is gone, the consumer "dies", or all is over.
pub(crate) fn consume(world: &World, dies_after: usize) -> Option<()> {
    let mut link = world.link()?;
    let members = "/v1/groups/counting/members";
    let join = json!({"topics": ["load"], "lease": "1s", "in_flight_max": 20});
    let (status, joined) = link.json("POST", members, &join)?;
    assert_eq!(status, 200, "{joined}");
    let member = format!("{members}/{}", joined["member"].as_str().unwrap());
    for round in 0.. {
        if world.is_over() {
            link.json("DELETE", &member, &json!({}));
            return None;
        }
        let take = format!("{member}/take?wait=200ms&state=count");
        let taken = known(link.json("POST", &take, &json!({}))?)?;
        let deliveries = taken["deliveries"].as_array().unwrap();
        if deliveries.is_empty() {
            continue;
        }
        if round >= dies_after {
            return None;
        }
        let settle: Vec<Value> = deliveries.iter().map(settle).collect();
        let commit = json!({ "settle": settle });
        known(link.json("POST", &format!("{member}/commit"), &commit)?)?;
        world.committed.fetch_add(settle.len(), Ordering::Relaxed);
    }
    None
}

/// An answer to a member, which on a slow machine may have lost its lease.
fn known((status, answer): (u16, Value)) -> Option<Value> {
    if answer["code"] == "unknown_member" {
        return None;
    }
    assert_eq!(status, 200, "{answer}");
    Some(answer)
}

/// Counts the events of a key, and says so for each.
pub(crate) fn settle(delivery: &Value) -> Value {
    let event = &delivery["event"];
    let count = delivery["state"]["count"].as_u64().unwrap_or(0) + 1;
    let counted = json!({
        "type": "counted", "topic": "counts", "subject": event["subject"],
        "data": {"of": event["id"], "count": count},
    });
    json!({
        "position": delivery["position"], "generation": delivery["generation"],
        "effects": [{"event": counted}], "state": {"count": count},
    })
}

fn publish(link: &mut Link, from: usize, count: usize) {
    let events = (from..from + count).map(|id| {
        json!({
            "specversion": "1.0", "id": id.to_string(), "source": "/load", "type": "e", "topic": "load",
            "subject": format!("k{}", id % KEYS),
        })
    });
    let batch: Vec<Value> = events.collect();
    let kind = "application/cloudevents-batch+json";
    let answer = link.call("POST", "/v1/events", kind, &json!(batch).to_string());
    assert_eq!(answer.unwrap().0, 200);
}

#[tokio::test]
async fn every_event_is_handled_once_though_the_server_is_killed_and_consumers_die() {
    let (kills, shop) = (kills(KILLS), Shop::empty());
    let mut serving = Some(Serving::start(&shop));
    let world = World::at(&serving.as_ref().unwrap().address);
    let events = EVENTS * (kills + 1);
    std::thread::scope(|scope| {
        for number in 0..CONSUMERS {
            let world = &world;
            scope.spawn(move || {
                let mut random = number + 1;
                while !world.is_over() {
                    random = random.wrapping_mul(48_271) % 0x7fff_ffff;
                    if consume(world, 5 + random % 40).is_none() {
                        // The server may be on its way back.
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        for round in 0..kills {
            publish(&mut world.link().unwrap(), round * EVENTS, EVENTS);
            // At another moment in each round, while much is under way.
            let before = world.committed.load(Ordering::Relaxed);
            while world.committed.load(Ordering::Relaxed) < before + 10 + 7 * (round % 11) {
                std::thread::yield_now();
            }
            if let Some(serving) = serving.take() {
                serving.signal("-KILL");
            }
            let started = Serving::start(&shop);
            *world.address.lock().unwrap() = started.address.clone();
            serving = Some(started);
        }
        publish(&mut world.link().unwrap(), kills * EVENTS, EVENTS);
        while !world.is_drained() {
            std::thread::sleep(Duration::from_millis(20));
        }
        world.end();
    });
    assert_eq!(serving.unwrap().end(), Some(0));
    let engine = shop.open().await;
    let found = events_of(&engine, "counts").await;
    let mut of_key: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for counted in found {
        let said: Value = serde_json::from_slice(counted.envelope.payload()).unwrap();
        let of = said["of"].as_str().unwrap().parse().unwrap();
        let key = counted.envelope.key().to_owned();
        let of_key = of_key.entry(key).or_default();
        of_key.push((of, said["count"].as_u64().unwrap()));
    }
    engine.close().await.unwrap();
    assert_eq!(of_key.values().map(Vec::len).sum::<usize>(), events);
    for (key, counted) in of_key {
        assert!(counted.is_sorted(), "{key} out of order: {counted:?}");
        let counts = counted.iter().map(|(_, count)| *count);
        let expected = 1..=counted.len() as u64;
        assert!(counts.eq(expected), "{key}: {counted:?}");
    }
}
