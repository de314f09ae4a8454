//! Checkpoints: the last two are kept, a damaged one falls back.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use ensue_log::storage::Fault;
use ensue_log::{Error, Position};
use support::{batch, open};

#[test]
fn the_newest_good_one() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 50)).unwrap();
    assert!(log.view().checkpoint().unwrap().is_none());
    for at in [10, 20, 30] {
        log.checkpoint(Position::new(at), &[at as u8; 100]).unwrap();
    }
    let names: Vec<String> = disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".cp"))
        .collect();
    assert_eq!(names.len(), 2);
    let newest = || log.view().checkpoint();
    assert_eq!(
        newest().unwrap().map(|(at, state)| (at.get(), state[0])),
        Some((30, 30))
    );
    for (name, left) in names.iter().rev().zip([Some(20), None]) {
        let mut bytes = disk.contents(name).unwrap();
        bytes[70] ^= 1;
        disk.overwrite(name, &bytes);
        match left {
            Some(at) => assert_eq!(newest().unwrap().map(|(at, _)| at.get()), Some(at)),
            None => assert!(matches!(newest(), Err(Error::Corrupt { .. }))),
        }
    }
    // The same position again replaces it.
    log.checkpoint(Position::new(30), b"again").unwrap();
    assert_eq!(newest().unwrap().unwrap().1, &b"again"[..]);
}
