//! A write that was cut off anywhere is cleared at open, and said; what was there before stays.
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
use support::{batch, last_segment, open, verify};

/// A disk with 5 records in one frame and 3 in the last one; where the last one starts and ends.
fn disk() -> (Fault, usize, usize) {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 5)).unwrap();
    let start = log.status().bytes as usize + 4096;
    log.append(batch(5, 3)).unwrap();
    let end = log.status().bytes as usize + 4096;
    drop(log);
    (disk, start, end)
}

#[test]
fn cut_at_every_byte() {
    let (disk, start, end) = disk();
    let name = last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    for cut in start..end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        disk.overwrite(&name, &torn);
        let log = open(&disk).unwrap();
        // A cut within the last padding leaves a whole frame.
        let lost = torn[..end] != whole[..end];
        assert_eq!(
            verify(&log.view()).unwrap(),
            if lost { 5 } else { 8 },
            "cut at {cut}"
        );
        let recovery = log.recovery();
        assert!(!recovery.clean);
        let something = torn[start..].iter().any(|byte| *byte != 0);
        assert_eq!(
            recovery.torn_file.is_some(),
            lost && something,
            "cut at {cut}"
        );
        if recovery.torn_bytes > 0 {
            assert_eq!(recovery.torn_offset, start as u64);
        }
        // Cleared durably: the same records fit in again.
        if lost {
            assert!(
                disk.contents(&name).unwrap()[start..]
                    .iter()
                    .all(|byte| *byte == 0)
            );
            log.append(batch(5, 1)).unwrap();
            assert_eq!(verify(&log.view()).unwrap(), 6);
        }
        drop(log);
        disk.overwrite(&name, &whole);
    }
}

#[test]
fn a_shorter_file_is_torn_too() {
    let (disk, start, end) = disk();
    let name = last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    for cut in [
        start,
        start + 1,
        start + 63,
        start + 64,
        start + 200,
        end - 1,
    ] {
        disk.overwrite(&name, &whole[..cut]);
        let log = open(&disk).unwrap();
        assert_eq!(verify(&log.view()).unwrap(), 5, "cut at {cut}");
        log.append(batch(5, 20)).unwrap();
        assert_eq!(verify(&log.view()).unwrap(), 25);
    }
}

#[test]
fn any_sector_missing() {
    let (disk, start, end) = disk();
    let name = last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    for sector in start / 512..end.div_ceil(512) {
        let mut torn = whole.clone();
        torn[(sector * 512).max(start)..((sector + 1) * 512).min(end)].fill(0);
        disk.overwrite(&name, &torn);
        let log = open(&disk).unwrap();
        assert_eq!(verify(&log.view()).unwrap(), 5, "sector {sector}");
        assert!(log.recovery().torn_bytes > 0);
    }
}

#[test]
fn after_a_clean_shutdown_it_is_damage() {
    let disk = Fault::new();
    let log = open(&disk).unwrap();
    log.append(batch(0, 5)).unwrap();
    log.close().unwrap();
    drop(log);
    let name = last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    let mut torn = whole.clone();
    torn[4600..].fill(0);
    disk.overwrite(&name, &torn);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(
        error.to_string().contains("closed at position 5"),
        "{error}"
    );
    disk.overwrite(&name, &whole);
    let log = open(&disk).unwrap();
    assert!(log.recovery().clean);
    assert_eq!(log.durable(), Position::new(5));
}

#[test]
fn a_good_frame_after_a_bad_one_is_damage() {
    let (disk, start, _) = disk();
    let name = last_segment(&disk);
    let whole = disk.contents(&name).unwrap();
    for at in [4096, 4100, 4160, start - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        disk.overwrite(&name, &damaged);
        let error = open(&disk).unwrap_err();
        let Error::Corrupt { file, offset, .. } = &error else {
            panic!("{error}")
        };
        assert!(file.contains(&name), "{error}");
        assert_eq!(*offset, 4096, "{error}");
        assert_eq!(
            disk.contents(&name).unwrap(),
            damaged,
            "nothing was repaired"
        );
    }
}

/// What an earlier life of the same blocks left behind carries another salt.
#[test]
fn stale_frames_are_not_accepted() {
    let (old, start, end) = disk();
    let stale = old.contents(&last_segment(&old)).unwrap()[start..end].to_vec();
    let fresh = Fault::new();
    let log = open(&fresh).unwrap();
    log.append(batch(0, 5)).unwrap();
    assert_eq!(log.status().bytes as usize + 4096, start);
    drop(log);
    let name = last_segment(&fresh);
    let mut bytes = fresh.contents(&name).unwrap();
    bytes[start..end].copy_from_slice(&stale);
    bytes[40_000..40_000 + stale.len()].copy_from_slice(&stale);
    fresh.overwrite(&name, &bytes);
    let log = open(&fresh).unwrap();
    assert_eq!(verify(&log.view()).unwrap(), 5);
    log.append(batch(5, 3)).unwrap();
    assert_eq!(verify(&log.view()).unwrap(), 8);
}
