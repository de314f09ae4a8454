//! An owner whose directory is no longer its own says so, acknowledges nothing and does no harm.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue_log::storage::File;
use ensue_log::{Durability, Error, Log, Options, Position};
use support::{batch, verify};

fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        ..Options::default()
    }
}

fn open(directory: &Path) -> Log {
    Log::open(Arc::new(File::new(directory)), options()).unwrap()
}

/// A directory with a log of ten records that is open.
fn owned() -> (tempfile::TempDir, PathBuf, Log) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let log = open(&directory);
    log.append(batch(0, 10)).unwrap();
    (parent, directory, log)
}

/// Removes a directory in which the log may be creating a file.
fn remove(directory: &Path) {
    while let Err(error) = fs::remove_dir_all(directory) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    }
}

fn is_lost<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::OwnershipLost { .. }), "{error}");
    assert!(error.to_string().contains("no longer"), "{error}");
}

/// Nothing works any more except reading what was durable.
fn says_so(log: &Log) {
    is_lost(log.append(batch(10, 1)));
    is_lost(log.append(batch(10, 1)));
    is_lost(log.submit(batch(10, 1)).map(drop).map_err(Error::from));
    is_lost(log.changed(Position::new(10)).wait());
    is_lost(log.checkpoint(Position::new(5), b"state"));
    is_lost(log.trim(Position::MAX));
    is_lost(log.close());
    assert!(log.status().poisoned.is_some());
    assert_eq!(log.durable().get(), 10);
}

/// The log that another owner has there is whole.
fn is_unharmed(directory: &Path, other: Log) {
    other.append(batch(3, 2)).unwrap();
    other.close().unwrap();
    drop(other);
    let again = open(directory);
    assert_eq!(verify(&again.view()).unwrap(), 5);
    let report = again.view().check(&mut |_| {}).unwrap();
    assert!(report.is_good(), "{:?}", report.damage);
}

#[test]
fn a_removed_directory() {
    let (_parent, directory, log) = owned();
    remove(&directory);
    let other = open(&directory);
    other.append(batch(0, 3)).unwrap();
    says_so(&log);
    drop(log);
    is_unharmed(&directory, other);
}

#[test]
fn a_removed_directory_that_was_not_made_again() {
    let (_parent, directory, log) = owned();
    remove(&directory);
    says_so(&log);
    drop(log);
    assert!(!directory.exists());
}

#[test]
fn a_directory_under_another_name() {
    let (parent, directory, log) = owned();
    fs::rename(&directory, parent.path().join("moved")).unwrap();
    let other = open(&directory);
    other.append(batch(0, 3)).unwrap();
    says_so(&log);
    drop(log);
    is_unharmed(&directory, other);
    // What was acknowledged is where the directory went.
    let moved = open(&parent.path().join("moved"));
    let mut records = 0;
    let mut scan = moved.view().scan(Default::default());
    while let Some(chunk) = scan.next_chunk().unwrap() {
        records += chunk.len();
    }
    assert!(records >= 10, "{records}");
}

#[test]
fn a_parent_under_another_name() {
    let (parent, directory, log) = owned();
    let above = parent.path().to_owned();
    let moved = above.with_extension("moved");
    fs::rename(&above, &moved).unwrap();
    says_so(&log);
    drop(log);
    assert!(!directory.exists());
    fs::rename(&moved, &above).unwrap();
}

#[test]
fn another_log_in_its_place() {
    let (parent, directory, log) = owned();
    let elsewhere = parent.path().join("elsewhere");
    let other = open(&elsewhere);
    other.append(batch(0, 3)).unwrap();
    drop(other);
    fs::rename(&directory, parent.path().join("moved")).unwrap();
    fs::rename(&elsewhere, &directory).unwrap();
    says_so(&log);
    drop(log);
    is_unharmed(&directory, open(&directory));
}

#[test]
fn a_removed_lock_file() {
    let (_parent, directory, log) = owned();
    fs::remove_file(directory.join("LOCK")).unwrap();
    // The directory itself is locked: there are never two owners.
    let error = Log::open(Arc::new(File::new(&directory)), options()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    says_so(&log);
    drop(log);
    assert_eq!(open(&directory).status().poisoned, None);
}

/// Where acknowledgements come from the page cache, it is noticed within a bounded time.
#[test]
fn a_removed_directory_without_syncs() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let options = Options {
        durability: Durability::Os,
        ..options()
    };
    let log = Log::open(Arc::new(File::new(&directory)), options).unwrap();
    log.append(batch(0, 1)).unwrap();
    remove(&directory);
    let begun = Instant::now();
    let error = loop {
        match log.append(batch(log.end().get(), 1)) {
            Ok(_) => assert!(begun.elapsed() < Duration::from_secs(60), "never noticed"),
            Err(error) => break error,
        }
    };
    is_lost::<()>(Err(error));
}

/// Who gave up the directory leaves it alone, also where an index is missing.
#[test]
fn views_of_a_closed_log_write_nothing() {
    let (_parent, directory, log) = owned();
    for _ in 0..40 {
        log.append(batch(log.end().get(), 5)).unwrap();
    }
    let view = log.view();
    log.close().unwrap();
    drop(log);
    let index = directory.join("idx");
    fs::remove_dir_all(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert_eq!(view.topics().unwrap().len(), 3);
    assert_eq!(fs::read_dir(&index).unwrap().count(), 0);
}

#[test]
fn a_removed_segment() {
    let (_parent, directory, log) = owned();
    fs::remove_file(segment(&directory)).unwrap();
    says_so(&log);
}

#[test]
fn a_segment_that_was_cut_off() {
    let (_parent, directory, log) = owned();
    let file = fs::OpenOptions::new().write(true).open(segment(&directory));
    file.unwrap().set_len(100).unwrap();
    says_so(&log);
}

/// The only segment.
fn segment(directory: &Path) -> PathBuf {
    directory.join("log").join(format!("{:020}.seg", 0))
}

/// Whatever the umask of the process would allow: what is in a log may be personal.
#[test]
fn only_the_user_of_the_process_may_read_what_a_log_makes() {
    use std::os::unix::fs::PermissionsExt as _;

    fn modes(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
        let permissions = path.metadata().unwrap().permissions();
        found.push((path.to_owned(), permissions.mode() & 0o777));
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                modes(&entry.unwrap().path(), found);
            }
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/data");
    let log = open(&directory);
    for count in 0..20 {
        log.append(batch(count * 100, 100)).unwrap();
    }
    log.close().unwrap();
    let mut found = Vec::new();
    modes(&directory, &mut found);
    assert!(
        found.len() > 8,
        "segments, indexes, MANIFEST, LOCK: {found:?}"
    );
    for (path, mode) in found {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    }
}
