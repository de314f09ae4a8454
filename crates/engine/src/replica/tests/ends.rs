//! How processes and logs end, and what those who stay or come after make of it.

use super::*;
use tokio::time::error::Elapsed;

use crate::error::{EngineError, OpenError};

/// Far longer than a test waits for anything.
const LONG_LEASE: &str = "1h";

impl Bed {
    /// A process in the directory of one that was killed, as soon as the system lets go of that.
    async fn follow(&self, process: &str, copy: &str) -> SharedEngine {
        let opening = async {
            loop {
                match self.try_open(process, copy, LONG_LEASE).await {
                    Err(Error::Open(OpenError::Locked { .. })) => tokio::task::yield_now().await,
                    outcome => return outcome.unwrap(),
                }
            }
        };
        let opened = tokio::time::timeout(PATIENCE, opening).await;
        opened.expect("it opens")
    }
}

/// A process that has joined, and ended without a word with an event in its hands.
async fn killed(bed: &Bed, copy: &str) -> Position {
    let engine = bed.try_open("a", copy, LONG_LEASE).await.unwrap();
    let member = join(&engine).await.unwrap();
    publish(&engine, "k", 0..1).await;
    let taken = next(&*member).await;
    engine.abandon();
    taken[0].position
}

async fn members(engine: &SharedEngine) -> usize {
    let status = engine.status().await.unwrap();
    status.groups.iter().map(|group| group.members.len()).sum()
}

/// Waits until the engine knows of so many members.
async fn members_become(engine: &SharedEngine, count: usize) -> Result<(), Elapsed> {
    let waiting = async {
        while members(engine).await != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_follows_a_killed_one_in_its_directory_waits_for_no_lease() {
    let bed = Bed::new(6, CALM);
    let position = killed(&bed, "a").await;
    let engine = bed.follow("b", "a").await;
    assert_eq!(members(&engine).await, 0, "the killed one is no ghost");
    let member = join(&engine).await.unwrap();
    assert_eq!(next(&*member).await[0].position, position);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_killed_one_after_the_other_leave_no_members() {
    let bed = Bed::new(7, CALM);
    killed(&bed, "a").await;
    for _ in 0..9 {
        let engine = bed.follow("a", "a").await;
        let _member = join(&engine).await.unwrap();
        assert_eq!(members(&engine).await, 1);
        engine.abandon();
    }
    assert_eq!(members(&bed.follow("a", "a").await).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_in_a_copied_directory_fences_no_other() {
    let bed = Bed::new(8, CALM);
    let engine = bed.try_open("a", "a", LONG_LEASE).await.unwrap();
    let member = join(&engine).await.unwrap();
    publish(&engine, "k", 0..1).await;
    let taken = next(&*member).await;
    let (original, copy) = (bed.copies.path().join("a"), bed.copies.path().join("b"));
    std::fs::create_dir(&copy).unwrap();
    for file in ["COPY", "LOCK", "PROCESS"] {
        std::fs::copy(original.join(file), copy.join(file)).unwrap();
    }
    let other = bed.try_open("b", "b", LONG_LEASE).await.unwrap();
    assert_eq!(members(&other).await, 1, "it lives");
    member.commit(handled(&taken)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_taken_for_dead_with_its_own_secret_stops_and_says_why() {
    let bed = Bed::new(9, CALM);
    let engine = bed.try_open("a", "a", LONG_LEASE).await.unwrap();
    publish(&engine, "k", 0..1).await;
    // As if the whole machine had been copied while it ran.
    let other = bed.try_open("b", "b", LONG_LEASE).await.unwrap();
    other.abandon();
    drop(other);
    let file = |copy: &str| bed.copies.path().join(copy).join("PROCESS");
    let read = |copy: &str| std::fs::read_to_string(file(copy)).unwrap();
    let (theirs, ours) = (read("a"), read("b"));
    let place = ours.lines().nth(1).unwrap();
    let secret = theirs.lines().nth(2).unwrap();
    std::fs::write(file("b"), format!("ensue process 1\n{place}\n{secret}\n")).unwrap();
    let _other = bed.follow("b", "b").await;
    let waiting = async {
        loop {
            let event = numbered("events", "k", 1).into();
            if let Err(error) = engine.append(vec![event]).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(
        matches!(error, Error::Engine(EngineError::Stopped(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("directory"), "{error}");
    let trouble = engine.status().await.unwrap().trouble;
    assert!(trouble.is_some_and(|it| it.contains("directory")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_shows_no_members_of_processes_that_were_silent_for_their_lease() {
    let bed = Bed::new(10, CALM);
    let engine = bed.try_open("a", "a", "500ms").await.unwrap();
    let _member = join(&engine).await.unwrap();
    bed.log.hold("a", Duration::from_secs(3600));
    engine.abandon();
    let waiting = async {
        loop {
            // Each of them lives for less than the lease: none says that the killed one is gone.
            let copy = format!("reader-{}", fastrand::u64(..));
            let reader = bed.try_open("b", &copy, "500ms").await.unwrap();
            let shown = members(&reader).await;
            reader.close().await.unwrap();
            if shown == 0 {
                return;
            }
        }
    };
    let shown = tokio::time::timeout(PATIENCE, waiting).await;
    shown.expect("it is no member any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_removed_from_the_middle_is_noticed_by_who_has_read_it() {
    let bed = Bed::new(12, CALM);
    let (engine, _) = three(&bed).await;
    bed.log.lose_from_the_middle();
    let waiting = async {
        loop {
            if let Some(trouble) = engine.status().await.unwrap().trouble {
                return trouble;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let trouble = tokio::time::timeout(PATIENCE, waiting).await;
    let trouble = trouble.expect("the status says it");
    assert!(trouble.contains("1 messages were removed"), "{trouble}");
    let error = engine.append(vec![numbered("events", "k", 3).into()]).await;
    assert!(
        matches!(error, Err(Error::Engine(EngineError::Corrupt(_)))),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_removed_is_noticed_by_who_only_waits() {
    let bed = Bed::new(11, CALM);
    let (engine, _) = three(&bed).await;
    let end = engine.status().await.unwrap().end;
    let following = tokio::spawn({
        let engine = engine.clone();
        async move { engine.wait(end).await }
    });
    bed.log.vanish();
    let waiting = async {
        while engine.status().await.unwrap().trouble.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let noticed = tokio::time::timeout(PATIENCE, waiting).await;
    noticed.expect("the status says it");
    let error = engine.append(vec![numbered("events", "k", 3).into()]).await;
    assert!(
        matches!(error, Err(Error::Engine(EngineError::Corrupt(_)))),
        "{error:?}"
    );
    let followed = tokio::time::timeout(PATIENCE, following).await.unwrap();
    let followed = followed.unwrap();
    assert!(
        matches!(followed, Err(Error::Engine(EngineError::Corrupt(_)))),
        "{followed:?}"
    );
    // Nor is an empty one begun in its place, where a copy tells that there was one.
    engine.abandon();
    drop(engine);
    let opening = async {
        loop {
            match bed.try_open("a", "a", LONG_LEASE).await {
                Err(Error::Open(OpenError::Locked { .. })) => tokio::task::yield_now().await,
                outcome => return outcome,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, opening).await.unwrap();
    let error = error.err().unwrap();
    assert!(
        matches!(error, Error::Engine(EngineError::Corrupt(_))),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("remove that directory"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_and_closing_end_also_when_the_server_says_nothing() {
    let bed = Bed::new(12, CALM);
    let engine = bed.try_open("a", "a", LONG_LEASE).await.unwrap();
    let member = join(&engine).await.unwrap();
    bed.log.hold("a", Duration::from_secs(3600));
    // Waits for the server, and keeps others from joining meanwhile.
    let joining = tokio::spawn({
        let engine = engine.clone();
        async move { join(&engine).await.map(drop) }
    });
    let appending = tokio::spawn({
        let engine = engine.clone();
        async move { engine.append(vec![numbered("events", "k", 0).into()]).await }
    });
    let waiting = async {
        while !bed.log.is_waited_for() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    let left = tokio::time::timeout(PATIENCE, member.leave()).await;
    left.expect("it ends").unwrap();
    let closed = tokio::time::timeout(PATIENCE, engine.close()).await;
    closed.expect("it ends").unwrap();
    let joined = tokio::time::timeout(PATIENCE, joining).await.unwrap();
    assert!(matches!(
        joined.unwrap(),
        Err(Error::Engine(EngineError::Closed))
    ));
    let appended = tokio::time::timeout(PATIENCE, appending).await.unwrap();
    assert!(matches!(
        appended.unwrap(),
        Err(Error::Engine(EngineError::Closed))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_closes_while_its_queue_is_full_waits_for_room_and_says_that_it_ends() {
    let bed = Bed::new(15, CALM);
    let other = bed.try_open("b", "b", LONG_LEASE).await.unwrap();
    let copy = bed.copies.path().join("a");
    let namespace = &bed.log.namespace;
    let url = format!(
        "wild://a?namespace={namespace}&replica={}&lease={LONG_LEASE}",
        copy.display()
    );
    let opening = open_quietly(Url::parse(&url).unwrap(), CONNECTOR, Clock::default());
    let (engine, _link) = opening.await.unwrap();
    let engine: SharedEngine = {
        let inner = engine.inner().clone();
        let engine: SharedEngine = Arc::new(engine);
        let member = join(&engine).await.unwrap();
        assert_eq!(members_become(&other, 1).await, Ok(()));
        bed.log.hold("a", Duration::from_millis(500));
        let full = (0..).find_map(|number| {
            let payload = vec![b'1'; 1_000_000];
            let key = u64::to_string(&number);
            let event = Envelope::builder("events", "large").key(&key);
            let event = event.payload(Codec::Json, payload).build().unwrap();
            let mut batch = ensue_log::Batch::new();
            crate::model::record::push_event(&mut batch, &event).unwrap();
            inner.submit_events(batch).err()
        });
        assert!(matches!(full, Some(ensue_log::SubmitError::Full(_))));
        let closed = tokio::time::timeout(PATIENCE, engine.close()).await;
        closed.expect("it ends").unwrap();
        drop(member);
        engine
    };
    let known = members_become(&other, 0).await;
    assert_eq!(known, Ok(()), "long before the lease is over");
    drop(engine);
}

/// A process that is killed has whole frames in its copy, and the next one goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_many_batches_is_one_write_to_the_copy() {
    const ROUNDS: u64 = 10;
    const BATCHES_EACH: u64 = 40;
    const BATCH_BYTES: usize = 10_000;
    let bed = Bed::new(13, CALM);
    let engine = bed.open("a", "a").await;
    for round in 0..ROUNDS {
        // What is submitted meanwhile goes out together.
        bed.log.hold("a", Duration::from_millis(100));
        let appending = (0..BATCHES_EACH).map(|number| {
            let key = number.to_string();
            let builder = Envelope::builder("events", "numbered").key(&key);
            let payload = vec![b'1'; BATCH_BYTES];
            let event = builder.payload(Codec::Json, payload).build().unwrap();
            engine.append(vec![event.into()])
        });
        for appended in join_all(appending).await {
            assert!(!appended.unwrap()[0].is_duplicate, "round {round}");
        }
    }
    let frames = |message: &&Bytes| Part::read(0, message).unwrap().kind == Kind::Frame;
    let before = bed.log.messages().iter().filter(frames).count() as u64;
    assert!(
        before < ROUNDS * BATCHES_EACH / 2,
        "{before} frames: each has several batches"
    );
    engine.close().await.unwrap();
    let copy = bed.copies.path().join("b");
    let namespace = &bed.log.namespace;
    let url = format!("wild://b?namespace={namespace}&replica={}", copy.display());
    let reader = open_quietly(Url::parse(&url).unwrap(), CONNECTOR, Clock::default());
    let (reader, _) = reader.await.unwrap();
    let written = reader.inner().log().status().frames;
    let there = bed.log.messages().iter().filter(frames).count();
    assert!(
        written <= there as u64,
        "{written} writes to the copy for {there} frames"
    );
}
