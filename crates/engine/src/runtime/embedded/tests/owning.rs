//! The directory of an engine: given up, lost, read from outside.

use std::path::Path;

use super::*;
use crate::error::EngineError;
use crate::runtime::checkpoint;

async fn open(directory: &Path) -> Result<Embedded> {
    let storage = Arc::new(log::storage::File::new(directory));
    let settings = Settings {
        segment_bytes: 64 * 1024,
        retention_bytes: Some(1),
        ..Settings::default()
    };
    Embedded::open(storage, settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_survives_a_restart_is_said_by_the_storage_and_not_by_the_url() {
    let directory = tempfile::tempdir().unwrap();
    let files: Arc<dyn log::Storage> = Arc::new(log::storage::File::new(directory.path()));
    let memory: Arc<dyn log::Storage> = Arc::new(log::storage::Memory::new());
    for (storage, url, survives) in [(files, "memory:", true), (memory, "embedded:./x", false)] {
        let settings = Settings {
            url: url.to_owned(),
            ..Settings::default()
        };
        let engine = Embedded::open(storage, settings).await.unwrap();
        assert_eq!(engine.guarantees().survives_restart, survives, "{url}");
        engine.close().await.unwrap();
    }
}

/// Whatever the background is at when the last handle is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_engine_can_be_opened_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..300 {
        let engine = open(directory.path()).await.unwrap();
        let member = match round % 3 {
            0 => Some(join(&engine).await),
            _ => None,
        };
        publish(&engine, &[&format!("a:{round}")]).await;
        if round % 5 == 0 {
            let inner = engine.inner().clone();
            tokio::task::spawn_blocking(move || checkpoint::write(&inner));
        }
        drop(engine);
        drop(member);
    }
}

/// The last handle may be a member's, and it says that it left.
#[tokio::test]
async fn the_last_member_leaves_before_the_directory_is_given_up() {
    let bed = Bed::new();
    let engine = bed.open().await;
    publish(&engine, &["a:1"]).await;
    let member = join(&engine).await;
    drop(engine);
    take(&*member).await;
    drop(member);
    let engine = bed.open().await;
    let group = engine.inner().locked().state().groups()["g"].clone();
    assert!(group.members().is_empty(), "{:?}", group.members());
}

#[tokio::test]
async fn an_engine_whose_directory_is_gone_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let engine = open(&directory).await.unwrap();
    publish(&engine, &["a:1"]).await;
    // The log may be just making a file in it.
    while let Err(error) = std::fs::remove_dir_all(&directory) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    }
    let refused = engine.append(vec![event("t", "a", "2").into()]).await;
    assert!(
        matches!(
            refused,
            Err(Error::Engine(EngineError::OwnershipLost { .. }))
        ),
        "{refused:?}"
    );
    let trouble = engine.status().await.unwrap().trouble;
    assert!(trouble.unwrap().contains("removed"));
    let closed = engine.close().await;
    assert!(
        matches!(
            closed,
            Err(Error::Engine(EngineError::OwnershipLost { .. }))
        ),
        "{closed:?}"
    );
    assert!(!directory.exists());
}

/// A reader beside an owner that trims gets an answer each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_beside_an_owner_that_trims_gets_answers() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(open(directory.path()).await.unwrap());
    publish(&engine, &["a:first"]).await;
    let owner = engine.clone();
    let trimming = tokio::spawn(async move {
        for round in 0..60 {
            let events: Vec<String> = (0..300)
                .map(|n| format!("k{}:{round}.{n}", n % 7))
                .collect();
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            publish(&owner, &events).await;
            owner.checkpoint().await.unwrap();
        }
    });
    let url = format!("embedded:{}", directory.path().display());
    let mut reads = 0;
    while !trimming.is_finished() || reads == 0 {
        let reader = crate::connect_reader(&url).await.unwrap();
        for _ in 0..3 {
            reader.status().await.unwrap();
            reader.read(Query::default()).await.unwrap();
            reader
                .dead_letters(None, DeadLetterFilter::default())
                .await
                .unwrap();
            reader.scheduled(10).await.unwrap();
        }
        reads += 1;
    }
    trimming.await.unwrap();
    assert!(
        engine.inner().log().first().get() > 0,
        "nothing was trimmed"
    );
}

/// What was lost is skipped, and what is left is handled.
#[tokio::test]
async fn a_salvaged_log_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let [damaged, salvaged] = ["damaged", "salvaged"].map(|name| parent.path().join(name));
    let engine = open(&damaged).await.unwrap();
    let member = join(&engine).await;
    for id in 1..=3 {
        publish(&engine, &[&format!("a:{id}")]).await;
    }
    let taken = take_all(&*member, 3).await;
    drop(member);
    engine.close().await.unwrap();
    drop(engine);

    // The last byte of the second event.
    let file = damaged.join("log").join(format!("{:020}.seg", 0));
    let mut bytes = std::fs::read(&file).unwrap();
    let content = taken[1].envelope.content();
    let at = bytes
        .windows(content.len())
        .position(|it| it == &content[..])
        .unwrap();
    bytes[at + content.len() - 1] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(
        open(&damaged).await,
        Err(Error::Engine(EngineError::Corrupt(_)))
    ));

    let report = crate::runtime::embedded::salvage(&damaged, &salvaged).unwrap();
    assert_eq!(report.lost.len(), 1, "{:?}", report.lost);
    assert_eq!(report.lost[0].from.get(), taken[1].position.get());
    let engine = open(&salvaged).await.unwrap();
    let member = join(&engine).await;
    let rest = take_all(&*member, 2).await;
    assert_eq!(ids(&rest), ["1", "3"]);
    assert_eq!(rest[1].position, taken[2].position);
}
