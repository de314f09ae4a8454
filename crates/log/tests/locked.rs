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
