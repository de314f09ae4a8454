//! What a status reads to tell how far groups are.

use ensue_log::storage::{Fault, Op};

use super::*;

const WANTED: &str = "thing.wanted";

/// An engine whose log has many segments.
async fn open_on(disk: &Fault, bed: &Bed) -> Embedded {
    let settings = Settings {
        segment_bytes: 64 * 1024,
        ..bed.settings.clone()
    };
    let storage = Arc::new(disk.clone());
    Embedded::open(storage, settings).await.unwrap()
}

/// How often records were read since the last look.
fn reads(disk: &Fault) -> usize {
    let calls = disk.trace();
    let is_read = |call: &&log::storage::Call| call.op == Op::Read && call.name.ends_with(".seg");
    calls.iter().filter(is_read).count()
}

/// Appends events of topic `t`: of type `thing.wanted` one in so many, if any.
async fn append_many(engine: &Embedded, count: usize, wanted_every: Option<usize>, bytes: usize) {
    // A batch is never split over two segments.
    let batch_events = (20_000 / bytes).min(5_000);
    for start in (0..count).step_by(batch_events) {
        let event = |number: usize| {
            let is_wanted = wanted_every.is_some_and(|every| number.is_multiple_of(every));
            let kind = if is_wanted { WANTED } else { "thing.happened" };
            let event = Envelope::builder("t", kind).key(format!("k-{number}"));
            let event = event.payload(Codec::Json, vec![b'7'; bytes]).build();
            Append::from(event.unwrap())
        };
        let batch = (start..count.min(start + batch_events)).map(event);
        engine.append(batch.collect()).await.unwrap();
    }
}

async fn lag(engine: &Embedded, group: &str) -> u64 {
    let (status, one) = (engine.status().await.unwrap(), engine.group(group).await);
    let shown = status.group(group).unwrap();
    let one = one.unwrap();
    assert_eq!(
        (&one.topics, &one.position),
        (&shown.topics, &shown.position)
    );
    shown.lag
}

#[tokio::test]
async fn a_status_reads_no_event_for_groups_that_want_every_type() {
    let (bed, disk) = (Bed::new(), Fault::new());
    let engine = open_on(&disk, &bed).await;
    append_many(&engine, 400, None, 1_000).await;
    let (mut members, mut settled) = (Vec::new(), Vec::new());
    for (name, share) in [("ahead", 1), ("between", 2), ("behind", usize::MAX)] {
        let member = engine.join(subscription(name)).await.unwrap();
        let mut taken = take(&*member).await;
        // What is left is in as many pieces as there are events.
        let mut number = 0;
        taken.retain(|_| {
            number += 1;
            number % share == 0
        });
        settled.push((name, taken.len() as u64));
        member.commit(settle(&taken)).await.unwrap();
        members.push(member);
    }
    engine.crash(members);

    let engine = open_on(&disk, &bed).await;
    assert!(engine.inner.log().status().segments > 5);
    disk.trace();
    let health = engine.health().await.unwrap();
    assert_eq!(reads(&disk), 0, "where the log ends is in memory");
    // Every index is open from here on.
    let status = engine.status().await.unwrap();
    assert_eq!(
        (health.trouble, health.first),
        (status.trouble, status.first)
    );
    assert_eq!(health.end, status.end);
    append_many(&engine, 3, None, 1_000).await;
    disk.trace();
    for (name, settled) in settled {
        assert_eq!(lag(&engine, name).await, 403 - settled, "{name}");
    }
    assert_eq!(reads(&disk), 0);
    assert!(engine.health().await.unwrap().end > health.end);
}

#[tokio::test]
async fn a_status_reads_so_many_events_to_leave_types_out_and_the_shortest_lags_first() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let join = async |name: &str| {
        let subscription = Subscription {
            types: Some(vec![WANTED.to_owned()]),
            start: Start::Latest,
            ..subscription(name)
        };
        engine.join(subscription).await.unwrap()
    };
    let mut members = vec![join("far").await];
    append_many(&engine, 40_000, None, 1).await;
    for name in ["middle-1", "middle-2", "middle-3"] {
        members.push(join(name).await);
    }
    append_many(&engine, 30_000, None, 1).await;
    members.push(join("near").await);
    append_many(&engine, 100, Some(4), 1).await;
    engine.crash(members);

    let engine = bed.open().await;
    let status = engine.status().await.unwrap();
    let lags = status.groups.iter().map(|it| (it.name.as_str(), it.lag));
    // 100 and twice 30,100 are read; a third time would be more than 65,536.
    let expected = [
        ("far", 70_100),
        ("middle-1", 25),
        ("middle-2", 25),
        ("middle-3", 30_100),
        ("near", 25),
    ];
    assert_eq!(lags.collect::<Vec<_>>(), expected);
    // Asked for alone, it has all of it.
    assert_eq!(engine.group("middle-3").await.unwrap().lag, 25);
    let unknown = engine.group("none").await;
    let unknown = unknown.map(|it| it.name).unwrap_err().to_string();
    assert!(unknown.contains("`none`"), "{unknown}");
}
