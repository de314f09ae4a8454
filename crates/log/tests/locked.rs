//! One owner a directory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::sync::Arc;

use ensue_log::{Error, Log, Options, Storage, storage};

fn second_is_refused(storage: Arc<dyn Storage>) {
    let log = Log::open(Arc::clone(&storage), Options::default()).unwrap();
    let error = Log::open(Arc::clone(&storage), Options::default()).unwrap_err();
    assert!(
        matches!(error, Error::Locked { pid: Some(pid) } if pid == std::process::id()),
        "{error}"
    );
    assert!(error.to_string().contains(&std::process::id().to_string()));
    log.close().unwrap();
    let log = Log::open(Arc::clone(&storage), Options::default()).unwrap();
    drop(log);
    Log::open(storage, Options::default()).unwrap();
}

#[test]
fn in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    second_is_refused(Arc::new(storage::File::new(
        directory.path().join("deep/er"),
    )));
}

/// Looking up the owner of a directory blocks no process, and changes nothing.
#[test]
fn looking_at_the_owner_does_not_disturb() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let looked_at = storage::File::new(&directory);
    assert_eq!(looked_at.owner().unwrap(), storage::Ownership::Free);
    assert!(!directory.exists());
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Acquire) {
                looked_at.owner().unwrap();
            }
        });
        let opened = std::panic::catch_unwind(|| {
            for _ in 0..100 {
                let storage = Arc::new(storage::File::new(&directory));
                drop(Log::open(storage, Options::default()).unwrap());
            }
        });
        is_done.store(true, std::sync::atomic::Ordering::Release);
        opened.unwrap();
    });
    let storage = Arc::new(storage::File::new(&directory));
    let log = Log::open(storage, Options::default()).unwrap();
    let pid = Some(std::process::id());
    assert_eq!(
        looked_at.owner().unwrap(),
        storage::Ownership::Owned { pid }
    );
    drop(log);
    assert_eq!(looked_at.owner().unwrap(), storage::Ownership::Free);
}

/// Also while the value is still held.
#[test]
fn a_released_log_can_be_opened_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let storage = || Arc::new(storage::File::new(directory.path()));
    let log = Log::open(storage(), Options::default()).unwrap();
    log.release();
    assert!(matches!(
        log.append(ensue_log::Batch::new()),
        Err(Error::Closed)
    ));
    let again = Log::open(storage(), Options::default()).unwrap();
    log.release();
    log.close().unwrap();
    drop(log);
    again.append(ensue_log::Batch::new()).unwrap();
    assert!(matches!(
        Log::open(storage(), Options::default()),
        Err(Error::Locked { .. })
    ));
}

#[test]
fn in_memory() {
    second_is_refused(Arc::new(storage::Memory::new()));
}

#[test]
fn wrong_options_are_named() {
    let options = Options {
        segment_bytes: 1,
        ..Options::default()
    };
    let error = Log::open(Arc::new(storage::Memory::new()), options).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("segment_bytes is 1; it must be between 65536"),
        "{error}"
    );
}
