//! What an earlier life of the same blocks left behind: frames of removed segments, of another
//! log, of another course of events. None of it is ever taken for records.

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Error, Log, Options, Position, Retention};

use super::effort::each;
use crate::support::{batch, last_segment, open, options, verify};

const HEADER: usize = 4096;

/// The used frames of the last segment: where each starts and ends.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut at = HEADER;
    while bytes.get(at..at + 4) == Some(b"EFr1") {
        let length = u32::from_le_bytes(bytes[at + 36..at + 40].try_into().unwrap());
        let end = at + 64 + length as usize;
        frames.push((at, end));
        at = end;
    }
    frames
}

/// A log with the same frames at the same positions each time, but another uuid and other salts.
fn log_of(batches: &[u64]) -> Fault {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    for count in batches {
        log.append(batch(log.end().get(), *count)).unwrap();
    }
    disk
}

/// Frames that once were good: of another log with the same positions, and of a segment of this
/// one that retention removed.
fn remains(random: &mut fastrand::Rng, removed: &[u8], batches: &[u64]) -> Vec<Vec<u8>> {
    let other = log_of(batches);
    let bytes = other.contents(&last_segment(&other)).unwrap();
    let mut remains = Vec::new();
    for source in [removed, &bytes] {
        let frames = frames(source);
        let from = random.usize(0..frames.len());
        let to = random.usize(from..frames.len());
        remains.push(source[frames[from].0..frames[to].1].to_vec());
    }
    remains
}

/// Puts remains behind the end of the last segment, right there or anywhere, at times behind a
/// torn frame; opening takes none of them, and neither does any later opening.
pub(crate) fn behind_the_end(seeds: u64) {
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Fault::new();
        let options = Options {
            retention: Retention {
                bytes: Some(0),
                age: None,
            },
            ..options()
        };
        let log = Log::open(Arc::new(disk.clone()), options).unwrap();
        let batches: Vec<u64> = (0..random.u64(2..6)).map(|_| random.u64(1..9)).collect();
        // A segment that is removed, then the one that takes its blocks.
        for count in &batches {
            log.append(batch(log.end().get(), *count)).unwrap();
        }
        let removed = disk.contents(&last_segment(&disk)).unwrap();
        log.append(batch(log.end().get(), 80)).unwrap();
        log.append(batch(log.end().get(), 1)).unwrap();
        log.trim(Position::MAX).unwrap();
        let mut end = log.end().get();
        drop(log);

        let name = last_segment(&disk);
        let mut bytes = disk.contents(&name).unwrap();
        let used = frames(&bytes).last().unwrap().1;
        for mut piece in remains(&mut random, &removed, &batches) {
            piece.truncate((bytes.len() - used - 64) / 8 * 8);
            let room = bytes.len() - piece.len();
            let at = match random.u8(0..4) {
                0 => used,
                1 => random.usize(used..=room),
                _ => random.usize(used / 8..=room / 8) * 8,
            };
            let at = at.clamp(used, room);
            bytes[at..at + piece.len()].copy_from_slice(&piece);
        }
        disk.overwrite(&name, &bytes);
        for turn in 0..2 {
            let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = verify(&log.view()).unwrap();
            assert_eq!(found, end, "seed {seed}, turn {turn}");
            log.append(batch(end, 2)).unwrap();
            end += 2;
            drop(log);
            disk.crash(seed);
        }
        let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(verify(&log.view()).unwrap(), end, "seed {seed}");
        assert!(
            log.view().check(&mut |_| ()).unwrap().is_good(),
            "seed {seed}"
        );
    });
}

/// The same with a frame of another log that has exactly the position that comes next.
pub(crate) fn the_very_next_frame(seeds: u64) {
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let batches: Vec<u64> = (0..random.u64(2..6)).map(|_| random.u64(1..9)).collect();
        let kept = random.usize(1..batches.len());
        let (disk, other) = (log_of(&batches[..kept]), log_of(&batches));
        let (name, other_name) = (last_segment(&disk), last_segment(&other));
        let mut bytes = disk.contents(&name).unwrap();
        let stale = other.contents(&other_name).unwrap();
        let at = frames(&bytes).last().unwrap().1;
        bytes[at..].copy_from_slice(&stale[at..]);
        disk.overwrite(&name, &bytes);
        let end: u64 = batches[..kept].iter().sum();
        let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(verify(&log.view()).unwrap(), end, "seed {seed}");
        assert!(log.recovery().torn_bytes > 0, "seed {seed}");
    });
}

/// A spare that was not zeroed becomes the next segment.
pub(crate) fn in_the_spare(seeds: u64) {
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let old = log_of(&[5, 3, 2, 9, 1]);
        let stale = old.contents(&last_segment(&old)).unwrap();
        let options = Options {
            background: true,
            ..options()
        };
        let disk = Fault::new();
        let open = || Log::open(Arc::new(disk.clone()), options.clone());
        let log = open().unwrap();
        // The spare is made when the segment is nearly full.
        while log.status().bytes < 50_000 {
            log.append(batch(log.end().get(), 1)).unwrap();
        }
        let mut end = log.end().get();
        while !disk.names().contains(&"log/spare".to_owned()) {
            std::thread::yield_now();
        }
        drop(log);
        disk.overwrite("log/spare", &stale);
        while end < 200 {
            let log = open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(verify(&log.view()).unwrap(), end, "seed {seed}");
            for _ in 0..random.u64(1..8) {
                let count = random.u64(1..12);
                log.append(batch(end, count)).unwrap();
                end += count;
            }
            drop(log);
            disk.crash(seed);
        }
        let log = open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(verify(&log.view()).unwrap(), end, "seed {seed}");
    });
}

/// A write that the device lost: where a frame should be, stands one of the same segment, size and
/// position from a course of events that was given up. Only the chain tells them apart.
pub(crate) fn of_another_course() {
    let begun = log_of(&[4]);
    let (given_up, kept) = (begun.duplicate(), begun);
    // The same sizes with other bodies, so that every other check passes.
    append_of(&given_up, 4, 0x11);
    append_of(&kept, 4, 0x22);
    let log = open(&kept).unwrap();
    log.append(batch(5, 3)).unwrap();
    drop(log);
    let name = last_segment(&kept);
    let mut bytes = kept.contents(&name).unwrap();
    let (from, to) = frames(&bytes)[1];
    bytes[from..to].copy_from_slice(&given_up.contents(&name).unwrap()[from..to]);
    kept.overwrite(&name, &bytes);
    let error = open(&kept).err();
    assert!(
        matches!(error, Some(Error::Corrupt { .. })),
        "a frame of another course of events was accepted: {error:?}"
    );
}

fn append_of(disk: &Fault, position: u64, filler: u8) {
    let log = open(disk).unwrap();
    assert_eq!(log.end().get(), position);
    let mut batch = ensue_log::Batch::new();
    batch
        .push(&ensue_log::Record {
            kind: 1,
            id: None,
            topic: "course",
            key: b"k",
            body: &[filler; 100],
        })
        .unwrap();
    log.append(batch).unwrap();
}
