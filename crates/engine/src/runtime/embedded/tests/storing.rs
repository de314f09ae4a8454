//! What survives, and what is told when it does not.

use super::*;
use crate::engine::{Expect, StateWrite};
use crate::error::{AppendError, EngineError, OpenError, ReadError};

fn rich_commit(bed: &Bed, taken: &[Delivery]) -> Commit {
    let state = StateWrite {
        topic: "t".into(),
        key: "a".into(),
        name: "n".into(),
        value: Some(Bytes::from_static(b"v")),
    };
    Commit {
        effects: vec![
            event("out", "k", "effect").into(),
            Effect::Append(Append {
                schedule: Some(Schedule::at(bed.in_seconds(5))),
                ..event("out", "k", "later").into()
            }),
        ],
        state: vec![state],
        ..settle(taken)
    }
}

/// The keeper writes them as the log grows, an operator whenever it likes.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_at_the_same_time_do_not_disturb_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(log::storage::File::new(directory.path()));
    let engine = Embedded::open(storage, Settings::default()).await;
    let engine = Arc::new(engine.unwrap());
    publish(&engine, &["a:1", "b:2", "c:3"]).await;
    let all = (0..64).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.checkpoint().await })
    });
    for written in futures_util::future::join_all(all).await {
        written.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_checkpoint_is_what_a_replay_gives() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1", "b:2", "c:3", "d:4", "e:5", "a:6"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 6).await;
    member
        .commit(rich_commit(&bed, &taken[4..5]))
        .await
        .unwrap();
    member
        .commit(retry(&taken[0], bed.in_seconds(9)))
        .await
        .unwrap();
    engine.checkpoint().await.unwrap();
    let parked = vec![taken[5].clone()];
    member
        .commit(Commit {
            parked,
            ..dead(&taken[1], OnDead::Park)
        })
        .await
        .unwrap();
    member.commit(settle(&taken[2..3])).await.unwrap();
    let live = engine.inner().locked().state().clone();
    engine.crash(vec![member]);

    let engine = bed.open().await;
    assert_eq!(
        *engine.inner().locked().state(),
        live,
        "checkpoint and replay"
    );
    engine.close().await.unwrap();
    let engine = bed.open().await;
    let mut clean = live.clone();
    let members = engine.inner().locked().state().groups()["g"]
        .members()
        .to_vec();
    clean.group_mut("g").set_members(members);
    assert_eq!(*engine.inner().locked().state(), clean, "checkpoint alone");
    let cell = engine.state("g", "t", "a", "n").await.unwrap();
    assert_eq!(cell.unwrap().as_ref(), b"v");
}

#[tokio::test]
async fn an_id_is_appended_once() {
    let bed = Bed::new();
    let engine = bed.open().await;
    let first = publish(&engine, &["a:1", "a:2"]).await;
    let again = publish(&engine, &["a:2", "a:3"]).await;
    assert_eq!(
        (again[0].position, again[0].is_duplicate),
        (first[1].position, true)
    );
    assert!(!again[1].is_duplicate);
    engine.close().await.unwrap();
    let engine = bed.open().await;
    assert!(
        publish(&engine, &["z:1"]).await[0].is_duplicate,
        "by id, whatever the topic and key"
    );
    assert_eq!(engine.read(Query::default()).await.unwrap().events.len(), 3);
}

#[tokio::test]
async fn a_full_disk_takes_a_commit_back_and_its_member_can_commit_again() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 64 * 1024;
    let disk = log::storage::Fault::new();
    let engine = Embedded::open(Arc::new(disk.clone()), bed.settings.clone())
        .await
        .unwrap();
    publish(&engine, &["a:1", "b:2"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 2).await;

    disk.set_capacity(Some(disk.used()));
    let payload = vec![b'x'; 4 * 1024 * 1024];
    let large = Envelope::builder("out", "e")
        .payload(Codec::Json, payload)
        .build()
        .unwrap();
    let commit = Commit {
        effects: vec![large.into()],
        ..settle(&taken)
    };
    let refused = member.commit(commit.clone()).await;
    assert!(
        matches!(refused, Err(Error::Engine(EngineError::DiskFull(_)))),
        "{refused:?}"
    );
    let group = group_of(&engine).await;
    assert_eq!(
        (group.in_flight, group.position),
        (2, taken[0].position.into())
    );
    let why = group.refused.expect("the status says so");
    assert!(
        why.contains("the disk is full") && why.contains("since 2026-05-17"),
        "{why}"
    );

    disk.set_capacity(None);
    member.commit(commit).await.unwrap();
    let group = group_of(&engine).await;
    assert!(group.is_idle());
    assert_eq!(group.refused, None);
    let out = Query {
        topics: Some("out".parse().unwrap()),
        ..Query::default()
    };
    assert_eq!(engine.read(out).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn reads_are_filtered_and_paged() {
    let bed = Bed::new();
    let engine = bed.open().await;
    for n in 0..30 {
        bed.hands.advance(Duration::from_secs(1));
        let topic = format!("t.{}", n % 3);
        engine
            .append(vec![
                event(&topic, &format!("k{}", n % 2), &n.to_string()).into(),
            ])
            .await
            .unwrap();
    }
    let reply = Envelope::builder("_reply.x", "e")
        .id("reply")
        .build()
        .unwrap();
    engine.append(vec![reply.into()]).await.unwrap();
    let read = async |query: Query| -> (Vec<usize>, Page) {
        let page = engine.read(query).await.unwrap();
        let ids = page
            .events
            .iter()
            .map(|it| it.envelope.id().parse().unwrap_or(99))
            .collect();
        (ids, page)
    };
    assert_eq!(read(Query::default()).await.0, (0..30).collect::<Vec<_>>());
    let reserved = Query {
        topics: Some("_reply.>".parse().unwrap()),
        ..Query::default()
    };
    assert_eq!(read(reserved).await.0, [99]);
    let keyed = Query {
        topics: Some("t.1".parse().unwrap()),
        key: Some("k1".into()),
        from: Position::new(8).into(),
        ..Query::default()
    };
    assert_eq!(read(keyed).await.0, [13, 19, 25]);
    let times = Query {
        since: Some("2026-05-17T09:30:11Z".parse().unwrap()),
        before: Some("2026-05-17T09:30:14Z".parse().unwrap()),
        ..Query::default()
    };
    assert_eq!(read(times).await.0, [10, 11, 12]);
    let typed = Query {
        types: vec!["other".into()],
        ..Query::default()
    };
    let (none, page) = read(typed).await;
    assert!(none.is_empty() && page.is_end);

    let mut query = Query {
        limit: 7,
        topics: Some("t.*".parse().unwrap()),
        ..Query::default()
    };
    let mut all = Vec::new();
    loop {
        let (ids, page) = read(query.clone()).await;
        assert!(ids.len() <= 7);
        all.extend(ids);
        query.from = page.next;
        if page.is_end {
            break;
        }
    }
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn retention_keeps_what_a_group_has_not_settled() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 64 * 1024;
    bed.settings.retention_bytes = Some(1);
    let engine = bed.open().await;
    let member = join(&engine).await;
    for n in 0..40 {
        let payload = vec![b'x'; 16 * 1024];
        let large = Envelope::builder("t", "e")
            .id(n.to_string())
            .payload(Codec::Json, payload);
        engine
            .append(vec![large.build().unwrap().into()])
            .await
            .unwrap();
    }
    engine.checkpoint().await.unwrap();
    engine.checkpoint().await.unwrap();
    assert_eq!(engine.status().await.unwrap().first, Cursor::START);
    let taken = take_all(&*member, 40).await;
    member.commit(dead(&taken[0], OnDead::Skip)).await.unwrap();
    member.commit(settle(&taken[1..])).await.unwrap();
    engine.checkpoint().await.unwrap();
    publish(&engine, &["a:1"]).await;
    engine.checkpoint().await.unwrap();
    assert_eq!(
        engine.status().await.unwrap().first,
        Cursor::START,
        "its dead letter is there"
    );
    engine
        .discard("g", DeadLetterFilter::default())
        .await
        .unwrap();
    engine.checkpoint().await.unwrap();
    publish(&engine, &["a:2"]).await;
    engine.checkpoint().await.unwrap();
    assert!(engine.status().await.unwrap().first > Position::new(30).into());
    member.leave().await.unwrap();
    engine.close().await.unwrap();
    let engine = bed.open().await;
    assert_eq!(group_of(&engine).await.lag, 0);
}

#[tokio::test]
async fn what_retention_removed_is_not_taken_for_what_never_was() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 64 * 1024;
    bed.settings.retention_bytes = Some(1);
    let engine = bed.open().await;
    let large = |key: &str, n: u32| {
        let large = Envelope::builder("t", "e").key(key).id(n.to_string());
        let large = large.payload(Codec::Json, vec![b'x'; 16 * 1024]);
        Append::from(large.build().unwrap())
    };
    let first = engine.append(vec![large("old", 0)]).await.unwrap()[0].position;
    for n in 1..20 {
        engine.append(vec![large("new", n)]).await.unwrap();
    }
    join(&engine).await.leave().await.unwrap();
    engine.reset("g", Start::Latest.into()).await.unwrap();
    for n in 20..23 {
        engine.append(vec![large("new", n)]).await.unwrap();
        engine.checkpoint().await.unwrap();
    }
    let kept = engine.status().await.unwrap().first.position();
    assert!(kept > first);

    let expecting = |key: &str, expect: Expect| Append {
        expect: Some(expect),
        ..event("t", key, "conditional").into()
    };
    for (key, expect) in [
        ("old", Expect::Absent),
        ("old", Expect::At(first)),
        ("never", Expect::Absent),
    ] {
        let refused = engine.append(vec![expecting(key, expect)]).await;
        assert!(
            matches!(&refused, Err(Error::Append(AppendError::VersionRemoved { first, .. })) if *first == kept),
            "{key} {expect:?}: {refused:?}"
        );
    }
    for (key, expect) in [("new", Expect::Absent), ("old", Expect::At(kept.next()))] {
        let refused = engine.append(vec![expecting(key, expect)]).await;
        assert!(
            matches!(refused, Err(Error::Append(AppendError::Conflict { .. }))),
            "{key} {expect:?}: {refused:?}"
        );
    }

    let from = first.next();
    let is_removed = |error: Error| matches!(error, Error::Read(ReadError::Trimmed { first, position }) if first == kept && position == from);
    let query = Query {
        from: from.into(),
        ..Query::default()
    };
    assert!(is_removed(engine.read(query).await.unwrap_err()));
    assert!(
        !engine
            .read(Query::default())
            .await
            .unwrap()
            .events
            .is_empty()
    );
    let start = Start::Cursor(from.into());
    assert!(is_removed(
        engine.reset("g", start.clone().into()).await.unwrap_err()
    ));
    let new = Subscription {
        start,
        ..subscription("new")
    };
    assert!(is_removed(engine.join(new).await.unwrap_err()));
}

#[tokio::test]
async fn another_process_reads_what_it_may_not_write() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().display());
    let engine = crate::connect(&url).await.unwrap();
    engine
        .append(vec![event("t", "k", "1").into()])
        .await
        .unwrap();
    let second = crate::connect(&url).await;
    match second {
        Err(Error::Open(OpenError::Locked {
            directory: found,
            pid,
        })) => {
            assert_eq!(
                (found.as_str(), pid),
                (directory.path().to_str().unwrap(), Some(std::process::id()))
            );
        }
        other => panic!("{other:?}"),
    }
    let reader = crate::connect_reader(&url).await.unwrap();
    assert_eq!(reader.read(Query::default()).await.unwrap().events.len(), 1);
    let waiting = reader.wait(Position::new(1).into());
    let member = engine.join(subscription("g")).await.unwrap();
    waiting.await.unwrap();
    let taken = take(&*member).await;
    member.commit(dead(&taken[0], OnDead::Park)).await.unwrap();
    let letters = reader
        .dead_letters(None, DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!((letters.len(), letters[0].event.id()), (1, "1"));
    let status = reader.status().await.unwrap();
    assert_eq!(
        (status.topics[0].events, status.group("g").unwrap().dead),
        (1, 1)
    );
    let refused = reader.append(vec![event("t", "k", "2").into()]).await;
    assert!(
        matches!(refused, Err(Error::Open(OpenError::Locked { .. }))),
        "{refused:?}"
    );
    engine.close().await.unwrap();
    let refused = reader.cancel(vec![EventId::new("/", "x")]).await;
    assert!(
        matches!(refused, Err(Error::Engine(EngineError::ReadOnly { .. }))),
        "{refused:?}"
    );
    let report = check(directory.path(), &mut |_| {}).unwrap();
    assert!(report.is_good() && report.records > 0, "{report:?}");
}

#[tokio::test]
async fn a_closed_engine_says_so() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    let taken = take(&*member).await;
    let (waited, closed) = tokio::join!(engine.wait(Position::new(1000).into()), engine.close());
    closed.unwrap();
    engine.close().await.unwrap();
    assert!(
        matches!(waited, Err(Error::Engine(EngineError::Closed))),
        "{waited:?}"
    );
    assert!(matches!(
        member.commit(settle(&taken)).await,
        Err(Error::Engine(EngineError::Closed))
    ));
    assert!(matches!(
        engine.append(vec![event("t", "k", "2").into()]).await,
        Err(Error::Engine(EngineError::Closed))
    ));
    let conditional = Append {
        expect: Some(Expect::Absent),
        ..event("t", "k", "2").into()
    };
    assert!(matches!(
        engine.append(vec![conditional]).await,
        Err(Error::Engine(EngineError::Closed))
    ));
    assert!(matches!(
        engine.status().await,
        Err(Error::Engine(EngineError::Closed))
    ));
    assert!(matches!(
        engine.join(subscription("g")).await,
        Err(Error::Engine(EngineError::Closed))
    ));
    member.leave().await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_stops_the_engine_and_a_restart_recovers() {
    let bed = Bed::new();
    let disk = log::storage::Fault::new();
    let engine = Embedded::open(Arc::new(disk.clone()), bed.settings.clone())
        .await
        .unwrap();
    publish(&engine, &["a:1", "b:2"]).await;
    let member = join(&engine).await;
    let taken = take_all(&*member, 2).await;
    // The next one may be that of a segment in reserve.
    for nth in 1..=8 {
        disk.fail(log::storage::Op::SyncData, nth, log::storage::Failure::Eio);
    }
    let refused = member.commit(settle(&taken)).await;
    assert!(
        matches!(refused, Err(Error::Engine(EngineError::Stopped(_)))),
        "{refused:?}"
    );
    assert!(matches!(
        member.next(1).await,
        Err(Error::Engine(EngineError::Stopped(_)))
    ));
    assert!(matches!(
        engine.wait(Position::new(99).into()).await,
        Err(Error::Engine(EngineError::Stopped(_)))
    ));
    assert!(engine.status().await.unwrap().trouble.is_some());
    drop(member);
    assert!(engine.close().await.is_err());
    disk.work_again();
    disk.crash(1);

    let engine = Embedded::open(Arc::new(disk), bed.settings.clone())
        .await
        .unwrap();
    assert_eq!(engine.read(Query::default()).await.unwrap().events.len(), 2);
}

#[tokio::test]
async fn after_a_power_cut_what_was_acknowledged_is_there() {
    for seed in 0..20 {
        let bed = Bed::new();
        let disk = log::storage::Fault::new();
        let engine = Embedded::open(Arc::new(disk.clone()), bed.settings.clone())
            .await
            .unwrap();
        let member = join(&engine).await;
        disk.power_off_after(20 + seed * 3);
        let (mut acknowledged, mut settled) = (0, 0);
        for n in 0..40 {
            let append = Append::from(event("t", "k", &n.to_string()));
            let Ok(appended) = engine.append(vec![append]).await else {
                break;
            };
            assert!(!appended[0].is_duplicate);
            acknowledged = n + 1;
            let Ok(taken) = member.next(10).await else {
                break;
            };
            let effect = event("out", "k", &format!("effect-{}", settled));
            let commit = Commit {
                effects: vec![effect.into()],
                ..settle(&taken)
            };
            if member.commit(commit).await.is_err() {
                break;
            }
            settled += taken.len();
        }
        disk.crash(seed);
        engine.crash(vec![member]);

        let engine = Embedded::open(Arc::new(disk), bed.settings.clone())
            .await
            .unwrap();
        let page = engine.read(Query::default()).await.unwrap();
        let count = |topic: &str| {
            page.events
                .iter()
                .filter(|it| it.envelope.topic() == topic)
                .count()
        };
        assert!(count("t") >= acknowledged, "seed {seed}");
        let effects = count("out");
        assert!(effects >= settled && effects <= settled + 1, "seed {seed}");
        let member = join(&engine).await;
        let left = count("t") - effects;
        if left > 0 {
            assert_eq!(take_all(&*member, left).await.len(), left, "seed {seed}");
        }
        assert!(
            poll(&*member).await.is_empty(),
            "seed {seed}: effects and settlements are one"
        );
    }
}

#[tokio::test]
async fn a_group_that_wants_little_finds_it() {
    let mut bed = Bed::new();
    bed.settings.segment_bytes = 128 * 1024;
    let engine = bed.open().await;
    let mut expected = Vec::new();
    for batch in 0..40_usize {
        let events = (0..200).map(|n| {
            let id = format!("{batch}.{n}");
            let topic = if n == batch && batch % 7 == 0 {
                "rare"
            } else {
                "t"
            };
            if topic == "rare" {
                expected.push(id.clone());
            }
            Append::from(event(topic, "k", &id))
        });
        engine.append(events.collect()).await.unwrap();
    }
    engine.close().await.unwrap();
    let engine = bed.open().await;
    let wanted = Subscription {
        topics: vec!["rare".parse().unwrap()],
        ..subscription("g")
    };
    let member = engine.join(wanted).await.unwrap();
    assert_eq!(group_of(&engine).await.lag, expected.len() as u64);
    let taken = take_all(&*member, expected.len()).await;
    assert_eq!(ids(&taken), expected);
    member.commit(settle(&taken)).await.unwrap();
    assert!(poll(&*member).await.is_empty());
    member.leave().await.unwrap();
    let group = group_of(&engine).await;
    assert!(
        group.position >= Position::new(8_000).into(),
        "what is nothing for it is behind it"
    );
}
