//! What is readable of a damaged log is copied, with its positions, and what is lost is named.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod support;

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Error, LOST_KIND, Log, Position, Query, Salvaged, salvage};
use support::{batch, body, open, options};

/// Five segments or so, each of several frames of five records; not closed.
fn filled() -> Fault {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    while log.end().get() < 300 {
        log.append(batch(log.end().get(), 5)).unwrap();
    }
    log.checkpoint(Position::new(100), b"state").unwrap();
    assert!(log.status().segments > 3);
    drop(log);
    disk
}

fn names(disk: &Fault, extension: &str) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| name.ends_with(extension));
    names.sort();
    names
}

/// Salvages, and holds every record against what it was: `lost` are the positions that may be
/// fillers.
fn salvaged(disk: &Fault) -> (Salvaged, Vec<u64>) {
    let before: Vec<_> = names(disk, ".seg")
        .iter()
        .map(|it| disk.contents(it))
        .collect();
    let to = Fault::new();
    let salvaged = salvage(disk, Arc::new(to.clone())).unwrap();
    let after: Vec<_> = names(disk, ".seg")
        .iter()
        .map(|it| disk.contents(it))
        .collect();
    assert!(before == after, "the damaged log was changed");

    let log = open(&to).unwrap();
    assert_eq!((log.first(), log.durable()), (salvaged.first, salvaged.end));
    let report = log.view().check(&mut |_| {}).unwrap();
    assert!(report.is_good(), "{:?}", report.damage);
    let (mut at, mut lost) = (log.first().get(), Vec::new());
    let mut scan = log.view().scan(Query {
        from: log.first(),
        ..Query::default()
    });
    while let Some(chunk) = scan.next_chunk().unwrap() {
        for entry in &chunk {
            assert_eq!(entry.position.get(), at);
            match entry.kind {
                LOST_KIND => lost.push(at),
                _ => assert_eq!(entry.body, body(at), "at {at}"),
            }
            at += 1;
        }
    }
    let named: Vec<u64> = salvaged
        .lost
        .iter()
        .filter_map(|loss| Some(loss.from.get()..loss.to?.get()))
        .flatten()
        .collect();
    assert_eq!(named, lost, "{:?}", salvaged.lost);
    let kept = salvaged.end.since(salvaged.first) - lost.len() as u64;
    assert_eq!(salvaged.records, kept);
    (salvaged, lost)
}

#[test]
fn a_good_log_is_copied_whole() {
    let disk = filled();
    let (salvaged, lost) = salvaged(&disk);
    assert_eq!((salvaged.records, lost.len()), (300, 0));
    assert_eq!((salvaged.checkpoints, salvaged.lost.len()), (1, 0));
}

#[test]
fn a_flipped_bit_takes_one_record_at_the_most() {
    let disk = filled();
    let segments = names(&disk, ".seg");
    for (number, name) in segments.iter().enumerate() {
        let good = disk.contents(name).unwrap();
        let used = good.iter().rposition(|byte| *byte != 0).unwrap();
        for at in (0..used).step_by(used / 60) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            disk.overwrite(name, &bad);
            let (salvaged, lost) = salvaged(&disk);
            assert!(lost.len() <= 1, "byte {at} of {name}: {lost:?}");
            // At the very end one cannot tell a damaged frame from one that was torn.
            let is_last = number + 1 == segments.len();
            let fewest = if is_last { 295 } else { 299 };
            assert!(salvaged.records >= fewest, "byte {at} of {name}");
            if salvaged.records < 300 {
                assert!(!salvaged.lost.is_empty(), "byte {at} of {name}: in silence");
                assert!(salvaged.lost[0].to_string().contains(name));
            }
        }
        disk.overwrite(name, &good);
    }
}

#[test]
fn a_lost_piece_of_a_segment_takes_what_was_in_it() {
    let disk = filled();
    let name = &names(&disk, ".seg")[1];
    let mut bytes = disk.contents(name).unwrap();
    bytes[8192..24_576].fill(0xEE);
    disk.overwrite(name, &bytes);
    let (salvaged, lost) = salvaged(&disk);
    assert!((10..40).contains(&lost.len()), "{lost:?}");
    assert_eq!(lost.len() as u64, lost.last().unwrap() - lost[0] + 1);
    assert_eq!(salvaged.end.get(), 300);
}

#[test]
fn lost_files_take_what_was_in_them() {
    let disk = filled();
    let segments = names(&disk, ".seg");
    ensue_log::Storage::remove(&disk, &segments[2]).unwrap();
    ensue_log::Storage::remove(&disk, "MANIFEST").unwrap();
    let first = |name: &str| name[4..24].parse::<u64>().unwrap();
    let (_, lost) = salvaged(&disk);
    assert_eq!(
        lost,
        (first(&segments[2])..first(&segments[3])).collect::<Vec<_>>()
    );
    // The first one: the new log starts later.
    let disk = filled();
    ensue_log::Storage::remove(&disk, &segments[0]).unwrap();
    let to = Arc::new(Fault::new());
    let salvaged = salvage(&disk, to).unwrap();
    assert_eq!(salvaged.first.get(), first(&segments[1]));
    assert_eq!(salvaged.lost[0].to, Some(salvaged.first));
}

#[test]
fn what_is_in_use_or_holds_a_log_is_refused() {
    let disk = filled();
    let refused = |from: &Fault, to: &Fault| salvage(from, Arc::new(to.clone())).unwrap_err();
    let error = refused(&disk, &filled());
    let exists = std::io::ErrorKind::AlreadyExists;
    assert!(
        matches!(&error, Error::Io { reason, .. } if reason.kind() == exists),
        "{error}"
    );
    assert!(matches!(
        refused(&Fault::new(), &Fault::new()),
        Error::Io { .. }
    ));
    let log = Log::open(Arc::new(disk.clone()), options()).unwrap();
    assert!(matches!(
        refused(&disk, &Fault::new()),
        Error::Locked { .. }
    ));
    drop(log);
}
