//! The fold, on a shared log that does to it whatever a server may: messages come twice, late, in
//! part or not at all, reads end anywhere, processes are cut off for longer than their lease.

mod backlogs;
mod corrupt;
mod ends;
mod wild;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use self::wild::{CONNECTOR, Troubles, Wild};
use super::frame::{HEADER_BYTES, Kind, Part};
use super::*;
use crate::engine::{
    Append, Commit, Delivery, Member, Position, Query, Schedule, SharedEngine, Subscription, Url,
};
use crate::error::{EngineError, Error, GroupError, Result};
use crate::event::{Codec, Envelope};
use crate::time::{Clock, Timestamp};

const PATIENCE: Duration = Duration::from_secs(60);
const CALM: Troubles = Troubles {
    appends: 0,
    reads: 0,
    message_bytes_max: 1 << 20,
};
/// How many storms rage at once, and how many after each other.
const STORMS: (u64, u64) = (10, 1);
const PUBLISHERS: u64 = 2;
const BATCHES: u64 = 25;
const KEYS: u64 = 4;

/// A log, and the processes that work on it.
struct Bed {
    log: Arc<Wild>,
    copies: TempDir,
    /// How many events of a key are kept one by one.
    key_events_max: usize,
}

impl Bed {
    fn new(seed: u64, troubles: Troubles) -> Self {
        Self {
            log: Wild::new(seed, troubles),
            copies: tempfile::tempdir().unwrap(),
            key_events_max: 1_024,
        }
    }

    /// A process; `copy` names its copy of the log.
    async fn open(&self, process: &str, copy: &str) -> SharedEngine {
        let clock = Clock::default();
        self.open_with(process, copy, "500ms", clock).await.unwrap()
    }

    /// A process whose clock is ahead.
    async fn open_ahead(&self, process: &str, ahead: Duration) -> SharedEngine {
        let micros = AtomicI64::new(ahead.as_micros() as i64);
        let clock = Clock::default().corrected(Arc::new(micros));
        let opened = self.open_with(process, process, "500ms", clock);
        opened.await.unwrap()
    }

    async fn try_open(&self, process: &str, copy: &str, lease: &str) -> Result<SharedEngine> {
        self.open_with(process, copy, lease, Clock::default()).await
    }

    async fn open_with(
        &self,
        process: &str,
        copy: &str,
        lease: &str,
        clock: Clock,
    ) -> Result<SharedEngine> {
        let (namespace, copy) = (&self.log.namespace, self.copies.path().join(copy));
        let url = format!(
            "wild://{process}?namespace={namespace}&replica={}&lease={lease}&key_events_max={}",
            copy.display(),
            self.key_events_max
        );
        let url = Url::parse(&url).unwrap();
        open(url, CONNECTOR, clock).await
    }
}

fn numbered(topic: &str, key: &str, number: u64) -> Envelope {
    let builder = Envelope::builder(topic, "numbered").key(key);
    let payload = number.to_string().into_bytes();
    builder.payload(Codec::Json, payload).build().unwrap()
}

async fn publish(engine: &SharedEngine, key: &str, numbers: std::ops::Range<u64>) {
    let events = numbers.map(|number| numbered("events", key, number).into());
    let appended = engine.append(events.collect());
    let appended = tokio::time::timeout(PATIENCE, appended).await.unwrap();
    assert!(appended.unwrap().iter().all(|it| !it.is_duplicate));
}

async fn join(engine: &SharedEngine) -> Result<Box<dyn Member>> {
    let joining = engine.join(Subscription {
        group: "handlers".into(),
        topics: vec!["events".parse().unwrap()],
        types: None,
        start: Default::default(),
        in_flight_max: 8,
    });
    tokio::time::timeout(PATIENCE, joining).await.unwrap()
}

async fn next(member: &dyn Member) -> Vec<Delivery> {
    let taken = tokio::time::timeout(PATIENCE, member.next(8)).await;
    taken.expect("something is delivered").unwrap()
}

/// One effect for each event, in the commit that settles it. Effects' ids are random, so that
/// handling one twice shows.
fn handled(taken: &[Delivery]) -> Commit {
    let effect = |delivery: &Delivery| {
        let number = std::str::from_utf8(delivery.envelope.payload()).unwrap();
        numbered("effects", delivery.envelope.key(), number.parse().unwrap()).into()
    };
    Commit {
        settled: taken.iter().map(|delivery| delivery.position).collect(),
        effects: taken.iter().map(effect).collect(),
        ..Commit::default()
    }
}

/// Handles events until the task is aborted; joins again when it was fenced.
fn work(engine: &SharedEngine) -> JoinHandle<()> {
    let engine = engine.clone();
    tokio::spawn(async move {
        loop {
            let outcome = async {
                let member = join(&engine).await?;
                loop {
                    let taken = member.next(4).await?;
                    member.commit(handled(&taken)).await?;
                }
            };
            match outcome.await {
                Ok(()) | Err(Error::Group(GroupError::Fenced { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
}

/// Everything in a copy: where it is, its topic, key and number.
async fn everything(engine: &SharedEngine) -> Vec<(Position, String, String, u64)> {
    let (mut all, mut query) = (Vec::new(), Query::default());
    loop {
        let page = engine.read(query.clone()).await.unwrap();
        all.extend(page.events.iter().map(|it| {
            let number = std::str::from_utf8(it.envelope.payload()).unwrap();
            (
                it.position,
                it.envelope.topic().to_owned(),
                it.envelope.key().to_owned(),
                number.parse().unwrap(),
            )
        }));
        if page.is_end {
            return all;
        }
        query.from = page.next;
    }
}

/// Everything in a copy once it has this many events.
async fn everything_of(
    engine: &SharedEngine,
    count: usize,
) -> Vec<(Position, String, String, u64)> {
    let waiting = async {
        loop {
            let all = everything(engine).await;
            if all.len() >= count {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(all) => all,
        Err(_) => panic!(
            "{} of {count} came: {:?}",
            everything(engine).await.len(),
            engine.status().await
        ),
    }
}

/// Each key's numbers, from 0 and without gaps, in both topics.
fn verify(all: &[(Position, String, String, u64)]) {
    let mut keys: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (_, topic, key, number) in all {
        keys.entry((topic, key)).or_default().push(*number);
    }
    assert_eq!(keys.len() as u64, 2 * PUBLISHERS * KEYS);
    for (key, numbers) in keys {
        let expected: Vec<u64> = (0..BATCHES).collect();
        assert_eq!(numbers, expected, "{key:?}: once, and in order");
    }
}

/// Publishers, members, processes that are cut off and one that is killed.
async fn storm(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bed = Bed::new(
        seed,
        Troubles {
            appends: random.u8(..50),
            reads: random.u8(..20),
            message_bytes_max: if random.bool() {
                1 << 20
            } else {
                // Most frames have several parts.
                HEADER_BYTES + random.usize(100..400)
            },
        },
    );
    if random.bool() {
        bed.key_events_max = random.usize(1..4);
    }
    let engines = [bed.open("a", "a").await, bed.open("b", "b").await];
    let victim = bed.open("c", "c").await;
    let mut members: Vec<_> = engines.iter().map(work).collect();
    let killed = work(&victim);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let engine = engines[publisher as usize % engines.len()].clone();
            tokio::spawn(async move {
                for number in 0..BATCHES {
                    for key in 0..KEYS {
                        let key = format!("{publisher}-{key}");
                        publish(&engine, &key, number..number + 1).await;
                    }
                }
            })
        })
        .collect();
    for round in 0..3 {
        let quiet = Duration::from_millis(random.u64(50..300));
        tokio::time::sleep(quiet).await;
        let cut_off = ["a", "b", "c"][random.usize(..3)];
        let pause = Duration::from_millis(random.u64(100..1_200));
        bed.log.hold(cut_off, pause);
        if round == 1 {
            victim.abandon();
        }
    }
    killed.abort();
    let _ = killed.await;
    drop(victim);
    let copy = if random.bool() { "c" } else { "d" };
    let again = bed.open("d", copy).await;
    members.push(work(&again));
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let count = 2 * (PUBLISHERS * BATCHES * KEYS) as usize;
    let all = everything_of(&engines[0], count).await;
    verify(&all);
    for engine in [&engines[1], &again] {
        assert_eq!(everything_of(engine, count).await, all, "all copies agree");
    }
    members.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_whatever_the_server_does() {
    for round in 0..STORMS.1 {
        let storms = (0..STORMS.0).map(|storm| round * STORMS.0 + storm);
        let storms = storms.map(|seed| tokio::spawn(storm(seed)));
        for (number, storm) in join_all(storms).await.into_iter().enumerate() {
            storm.unwrap_or_else(|why| panic!("storm {number} of round {round}: {why}"));
        }
    }
}

/// Of a log on which one process has appended three events of a key, one by one.
async fn three(bed: &Bed) -> (SharedEngine, Vec<Bytes>) {
    let engine = bed.open("a", "a").await;
    for number in 0..3 {
        publish(&engine, "k", number..number + 1).await;
    }
    let frames = bed.log.messages().into_iter().filter(|message| {
        let part = Part::read(0, message).unwrap();
        part.kind == Kind::Frame
    });
    (engine, frames.collect())
}

fn numbers(all: &[(Position, String, String, u64)]) -> Vec<u64> {
    all.iter().map(|(_, _, _, number)| *number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_comes_again_counts_once() {
    let bed = Bed::new(1, CALM);
    let (engine, frames) = three(&bed).await;
    bed.log.add(frames);
    publish(&engine, "k", 3..4).await;
    assert_eq!(numbers(&everything_of(&engine, 4).await), [0, 1, 2, 3]);
    // Also for one who reads all of it from the beginning.
    let other = bed.open("b", "b").await;
    assert_eq!(numbers(&everything_of(&other, 4).await), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_waits_for_the_one_before_it() {
    let source = Bed::new(2, CALM);
    let (engine, frames) = three(&source).await;
    engine.abandon();
    let [opens, first, second, third] = frames.as_slice() else {
        panic!("there are {} frames", frames.len());
    };
    let bed = Bed::new(2, CALM);
    // The second came to be there before the first: it was sent again after that.
    bed.log
        .add([opens, second, first, second, third].map(Bytes::clone));
    let reader = bed.open("b", "b").await;
    assert_eq!(numbers(&everything_of(&reader, 3).await), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_joined_only_in_their_order() {
    let small = Troubles {
        message_bytes_max: HEADER_BYTES + 100,
        ..CALM
    };
    let source = Bed::new(3, small);
    let engine = source.open("a", "a").await;
    let before = source.log.messages().len();
    publish(&engine, "k", 0..8).await;
    engine.abandon();
    let all = source.log.messages();
    let frame = &all[before..];
    assert!(frame.len() > 3, "{} parts", frame.len());
    let bed = Bed::new(3, small);
    bed.log.add(all[..before].iter().cloned());
    // It broke off twice, the second time before its last part; one part of the first try came late.
    bed.log.add(frame[..2].iter().cloned());
    bed.log.add(frame[..frame.len() - 1].iter().cloned());
    bed.log.add(frame[1..2].iter().cloned());
    bed.log.add(frame.iter().cloned());
    let reader = bed.open("b", "b").await;
    let found = numbers(&everything_of(&reader, 8).await);
    assert_eq!(found, (0..8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_cut_off_for_longer_than_its_lease_commits_nothing() {
    let bed = Bed::new(4, CALM);
    let (slow, quick) = (bed.open("a", "a").await, bed.open("b", "b").await);
    let member = join(&slow).await.unwrap();
    publish(&quick, "k", 0..1).await;
    let taken = next(&*member).await;
    bed.log.hold("a", Duration::from_secs(2));
    let other = join(&quick).await.unwrap();
    let again = next(&*other).await;
    assert_eq!(again[0].position, taken[0].position);
    other.commit(handled(&again)).await.unwrap();
    let late = tokio::time::timeout(PATIENCE, member.commit(handled(&taken))).await;
    let late = late.expect("it is told");
    assert!(
        matches!(late, Err(Error::Group(GroupError::Fenced { .. }))),
        "{late:?}"
    );
    publish(&slow, "k", 1..2).await;
    for engine in [&slow, &quick] {
        assert_eq!(numbers(&everything_of(engine, 3).await), [0, 0, 1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_what_it_had_acknowledged_is_noticed() {
    let bed = Bed::new(5, CALM);
    let (engine, _) = three(&bed).await;
    // Beats, and at least the last frame.
    bed.log.crash(8);
    let waiting = async {
        let mut number = 3;
        loop {
            let event = numbered("events", "k", number).into();
            if let Err(error) = engine.append(vec![event]).await {
                return error;
            }
            number += 1;
        }
    };
    let error = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(
        matches!(error, Error::Engine(EngineError::Corrupt(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("lost"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_and_sends_nothing_for_a_while_has_lost_nothing() {
    let bed = Bed::new(12, CALM);
    let (engine, _) = three(&bed).await;
    bed.log.slow_down(20);
    bed.log.crash(0);
    publish(&engine, "k", 3..4).await;
    assert_eq!(numbers(&everything_of(&engine, 4).await), [0, 1, 2, 3]);
    assert!(!bed.log.is_slow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_gone_on_with_though_the_server_sends_nothing_for_a_while() {
    let bed = Bed::new(13, CALM);
    let (engine, _) = three(&bed).await;
    engine.close().await.unwrap();
    drop(engine);
    bed.log.slow_down(4);
    let engine = bed.open("a", "a").await;
    assert_eq!(numbers(&everything_of(&engine, 3).await), [0, 1, 2]);
    assert!(!bed.log.is_slow());
}

const HOUR: Duration = Duration::from_secs(3_600);

/// When the events that were appended to `events` were, by the log's time.
async fn times(engine: &SharedEngine) -> Vec<Timestamp> {
    let page = engine.read(Query::default()).await.unwrap();
    page.events.iter().map(|it| it.appended).collect()
}

/// Waits until the engine names a clock that is wrong.
async fn clock_trouble(engine: &SharedEngine) -> String {
    let waiting = async {
        loop {
            if let Some(trouble) = engine.status().await.unwrap().trouble {
                return trouble;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_clock_is_ahead_goes_by_the_others() {
    let bed = Bed::new(6, CALM);
    let begun = Timestamp::now();
    let right = bed.open("a", "a").await;
    publish(&right, "k", 0..1).await;
    let fast = bed.open_ahead("b", 2 * HOUR).await;
    publish(&fast, "k", 1..2).await;
    publish(&right, "k", 2..3).await;
    let trouble = clock_trouble(&fast).await;
    assert!(trouble.contains("this process's clock is 7"), "{trouble}");
    assert!(trouble.contains("s ahead of"), "{trouble}");
    let trouble = clock_trouble(&right).await;
    assert!(
        trouble.contains("the clock of another process is 7"),
        "{trouble}"
    );

    // What is said to be in an hour is in an hour, whichever process says it.
    let later = Envelope::builder("events", "later").source("/fast");
    let later = later.payload(Codec::Json, b"9".to_vec()).build().unwrap();
    let later = Append {
        schedule: Some(Schedule::at(fast.clock().now().plus(HOUR))),
        ..Append::from(later)
    };
    fast.append(vec![later]).await.unwrap();
    let minute = Duration::from_secs(60);
    let scheduled = fast.scheduled(1).await.unwrap();
    assert!(scheduled[0].at < begun.plus(HOUR + minute), "{scheduled:?}");
    publish(&fast, "k", 3..4).await;
    for engine in [&fast, &right] {
        everything_of(engine, 4).await;
        let times = times(engine).await;
        assert_eq!(times.len(), 4, "nothing came early");
        assert!(times.iter().all(|at| *at < begun.plus(minute)), "{times:?}");
    }
    let line =
        (CONNECTOR.dial)(Url::parse(&format!("wild://a?namespace={}", bed.log.namespace)).unwrap());
    let finding = examine_clocks(&*line.await.unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(
        finding.weakens.is_some() && finding.found.contains("s ahead of"),
        "{finding:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_goes_on_when_a_process_that_was_ahead_is_gone() {
    let bed = Bed::new(7, CALM);
    let fast = bed.open_ahead("a", 2 * HOUR).await;
    publish(&fast, "k", 0..1).await;
    fast.close().await.unwrap();
    let right = bed.open("b", "b").await;
    for number in 1..6 {
        publish(&right, "k", number..number + 1).await;
        // A little passes.
        let before = Timestamp::now();
        while Timestamp::now() < before.plus(Duration::from_millis(2)) {
            tokio::task::yield_now().await;
        }
    }
    let times = times(&right).await;
    // The first two may be of one time: how fast this process's goes is not known before.
    assert!(
        times[1..].windows(2).all(|two| two[0] < two[1]),
        "{times:?}"
    );
    assert!(
        times[5].since(times[0]) < Duration::from_secs(60),
        "{times:?}"
    );
}
