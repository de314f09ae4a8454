//! A follower reads what another handle writes, over rolls and trims, and changes nothing.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::path::Path;
use std::sync::Arc;

use ensue_log::storage::{Fault, File, Op};
use ensue_log::{Error, Follower, Log, Options, Position, Query, Retention};
use support::{batch, options, verify};
use tempfile::TempDir;

#[test]
fn sees_appends_rolls_and_trims() {
    let disk = Fault::new();
    let retention = Retention {
        bytes: Some(150_000),
        age: None,
    };
    let log = Log::open(
        Arc::new(disk.clone()),
        Options {
            retention,
            ..options()
        },
    )
    .unwrap();
    let mut follower = Follower::open(Arc::new(disk.clone())).unwrap();
    let view = follower.view();
    assert_eq!(
        (view.first(), view.durable()),
        (Position::ZERO, Position::ZERO)
    );
    let mut trimmed = 0;
    for round in 0..60 {
        log.append(batch(log.end().get(), 1 + round % 13)).unwrap();
        assert_eq!(follower.refresh().unwrap(), log.durable());
        assert_eq!(verify(&view).unwrap(), log.durable().get());
        if round % 7 == 0 {
            trimmed += log.trim(log.durable()).unwrap().segments;
            follower.refresh().unwrap();
            assert_eq!(view.first(), log.first());
        }
    }
    assert!(trimmed > 2);
    assert!(matches!(
        view.read(Position::ZERO, 1),
        Err(Error::Trimmed { .. })
    ));
    let key = view.last_of_key("orders", b"key-0").unwrap();
    assert_eq!(key, log.view().last_of_key("orders", b"key-0").unwrap());
    assert_eq!(view.topics().unwrap(), log.view().topics().unwrap());
    let by_key = |view: &ensue_log::View| {
        let key = Some(("orders".to_owned(), b"key-0".to_vec()));
        let mut scan = view.scan(Query {
            from: view.first(),
            key,
            ..Query::default()
        });
        let mut positions = Vec::new();
        while let Some(chunk) = scan.next_chunk().unwrap() {
            positions.extend(chunk.iter().map(|entry| entry.position));
        }
        positions
    };
    assert_eq!(by_key(&view), by_key(&log.view()));
}

#[test]
fn writes_nothing() {
    let disk = Fault::new();
    let log = Log::open(Arc::new(disk.clone()), options()).unwrap();
    log.append(batch(0, 200)).unwrap();
    log.append(batch(200, 200)).unwrap();
    drop(log);
    // Also not the index files that it misses.
    for name in disk.names().iter().filter(|name| name.ends_with(".idx")) {
        ensue_log::Storage::remove(&disk, name).unwrap();
    }
    let changes = |disk: &Fault| {
        [
            Op::Lock,
            Op::Create,
            Op::Rename,
            Op::Remove,
            Op::Write,
            Op::Preallocate,
        ]
        .map(|op| disk.count(op))
    };
    let before = changes(&disk);
    let follower = Follower::open(Arc::new(disk.clone())).unwrap();
    assert_eq!(verify(&follower.view()).unwrap(), 400);
    follower.view().topics().unwrap();
    assert!(
        follower
            .view()
            .last_of_key("orders", b"key-0")
            .unwrap()
            .is_some()
    );
    assert_eq!(changes(&disk), before);
}

#[test]
fn there_must_be_a_log() {
    let error = Follower::open(Arc::new(Fault::new())).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// What was acknowledged is never taken for a write that was torn.
#[test]
fn damage_in_the_last_segment_is_not_its_end() {
    for is_closed in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(File::new(directory.path()));
        let log = Log::open(storage, options()).unwrap();
        for _ in 0..3 {
            log.append(batch(log.end().get(), 5)).unwrap();
        }
        if is_closed {
            log.close().unwrap();
        }
        let segment = format!("log/{:020}.seg", 0);
        let good = std::fs::read(directory.path().join(&segment)).unwrap();
        let used = good.iter().rposition(|byte| *byte != 0).unwrap();
        let places: Vec<usize> = (128..used).step_by(used / 40).collect();
        // A follower looks several times before it takes anything for damage: all of them wait at
        // the same time, each for a copy of its own.
        let last_frame_noticed = std::thread::scope(|scope| {
            let look = |at: usize| {
                let copy = copy_of(directory.path());
                let file = copy.path().join(&segment);
                let mut bad = good.clone();
                bad[at] ^= 1;
                std::fs::write(file, bad).unwrap();
                move || match Follower::open(Arc::new(File::new(copy.path()))) {
                    Err(Error::Corrupt { .. }) => false,
                    // A damaged last frame is like a torn one, unless the log was closed after it.
                    Ok(mut follower) => {
                        assert!(!is_closed, "byte {at}");
                        let seen = follower.refresh().unwrap();
                        assert!(seen >= Position::new(10), "byte {at}");
                        true
                    }
                    Err(error) => panic!("byte {at}: {error}"),
                }
            };
            let looks: Vec<_> = places.iter().map(|at| scope.spawn(look(*at))).collect();
            let looked = looks.into_iter().map(|look| look.join().unwrap());
            looked.filter(|is_noticed| *is_noticed).count()
        });
        assert!(places.len() >= 40);
        assert_eq!(last_frame_noticed > 0, !is_closed);
    }
}

/// The files of a log, as they are.
fn copy_of(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(directory, copy.path());
    copy
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_files(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// While another thread writes real files.
#[test]
fn follows_a_live_log() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(File::new(directory.path()));
    let log = Log::open(
        storage.clone(),
        Options {
            segment_bytes: 64 * 1024,
            ..Options::default()
        },
    )
    .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..150 {
                log.append(batch(log.end().get(), 5)).unwrap();
            }
        });
        let mut follower = Follower::open(storage).unwrap();
        while follower.refresh().unwrap() < Position::new(750) {
            verify(&follower.view()).unwrap();
        }
        assert_eq!(verify(&follower.view()).unwrap(), 750);
    });
}

/// Everything that a reader can ask beside an owner that trims has an answer: that what was asked
/// for is trimmed, at the worst.
#[test]
fn an_owner_that_trims_does_not_disturb() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(File::new(directory.path()));
    let options = Options {
        segment_bytes: 64 * 1024,
        durability: ensue_log::Durability::Os,
        retention: Retention {
            bytes: Some(1),
            age: None,
        },
        ..Options::default()
    };
    let log = Log::open(storage.clone(), options).unwrap();
    log.append(batch(0, 5)).unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                log.append(batch(log.end().get(), 20)).unwrap();
                log.trim(Position::MAX).unwrap();
            }
            is_done.store(true, std::sync::atomic::Ordering::Release);
        });
        let fine = |outcome: Result<(), Error>| match outcome {
            Ok(()) | Err(Error::Trimmed { .. }) => {}
            Err(error) => panic!("{error}"),
        };
        while !is_done.load(std::sync::atomic::Ordering::Acquire) {
            let mut follower = Follower::open(storage.clone()).unwrap();
            let view = follower.view();
            for _ in 0..3 {
                fine(view.read(view.first(), 1 << 20).map(drop));
                fine(view.topics().map(drop));
                fine(view.last_of_key("orders", b"key-0").map(drop));
                fine(view.position_at(0).map(drop));
                fine(
                    view.count(view.first(), view.durable(), 1, &|_| true)
                        .map(drop),
                );
                fine(view.check(&mut |_| {}).map(|report| {
                    assert!(report.is_good(), "{:?}", report.damage);
                }));
                follower.refresh().unwrap();
            }
        }
    });
}
