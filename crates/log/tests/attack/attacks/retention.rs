//! Trimming and rebuilding indexes, cut at every call.

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Log, Options, Position, Query, Retention};

use super::effort::each;
use crate::support::{batch, key, options, topic, verify};

const RECORDS: u64 = 500;

fn trimming(disk: &Fault) -> ensue_log::Result<Log> {
    let retention = Retention {
        bytes: Some(0),
        age: None,
    };
    let options = Options {
        retention,
        ..options()
    };
    Log::open(Arc::new(disk.clone()), options)
}

/// Many segments, with their indexes.
fn filled() -> Fault {
    let disk = Fault::new();
    let log = trimming(&disk).unwrap();
    while log.end().get() < RECORDS {
        log.append(batch(log.end().get(), 20)).unwrap();
    }
    assert!(log.status().segments > 5);
    disk
}

/// What is kept is whole and no more than was asked for is gone.
fn is_whole(disk: &Fault, floor: u64, context: &dyn Fn() -> String) {
    let log = trimming(disk).unwrap_or_else(|error| panic!("{}: {error}", context()));
    assert!(log.first().get() <= floor, "{}", context());
    let end = verify(&log.view()).unwrap_or_else(|error| panic!("{}: {error}", context()));
    assert_eq!(end, RECORDS, "{}", context());
    let report = log.view().check(&mut |_| ()).unwrap();
    assert!(report.is_good(), "{}: {:?}", context(), report.damage);
    // No id was forgotten with its record.
    for position in [0, floor - 1, RECORDS - 1] {
        let receipt = log.append(batch(position, 1)).unwrap();
        let found = (receipt.appended(), receipt.first().get());
        assert_eq!(found, (0, position), "{}", context());
    }
    log.append(batch(end, 1)).unwrap();
}

/// A trim that dies or loses power after every call; then the next opening does, which finishes
/// it, after every `step`-th.
pub(crate) fn a_trim_cut_at_every_call(floor: u64, step: u64) {
    let whole = filled();
    let reference = whole.duplicate();
    let log = trimming(&reference).unwrap();
    let before = reference.calls();
    assert!(log.trim(Position::new(floor)).unwrap().segments > 1);
    let calls = reference.calls() - before;
    each(calls, |call| {
        for seed in 0..8 {
            let disk = whole.duplicate();
            let log = trimming(&disk).unwrap();
            disk.power_off_after(call);
            log.trim(Position::new(floor)).unwrap_err();
            drop(log);
            let context = || format!("call {call} of the trim, seed {seed}");
            match seed {
                0 => disk.kill(),
                _ => disk.crash(seed),
            }
            is_whole(&disk.duplicate(), floor, &context);
            let opened = disk.duplicate();
            drop(trimming(&opened).unwrap());
            for cut in (0..opened.calls()).step_by(step as usize) {
                let disk = disk.duplicate();
                disk.power_off_after(cut);
                drop(trimming(&disk));
                disk.crash(seed);
                let context = || format!("{}, then call {cut} of opening", context());
                is_whole(&disk, floor, &context);
            }
        }
    });
}

fn finds_every_key(log: &Log, context: &dyn Fn() -> String) {
    for position in [0, 7, 11, RECORDS / 2, RECORDS - 1] {
        let query = Query {
            key: Some((topic(position).to_owned(), key(position))),
            ..Query::default()
        };
        let mut scan = log.view().scan(query);
        let mut found = Vec::new();
        while let Some(chunk) = scan.next_chunk().unwrap() {
            found.extend(chunk.iter().map(|entry| entry.position.get()));
        }
        let same = |other: &u64| topic(*other) == topic(position) && key(*other) == key(position);
        let expected: Vec<u64> = (0..RECORDS).filter(same).collect();
        assert_eq!(found, expected, "{}", context());
    }
}

/// Indexes deleted, cut off, overwritten with noise, or swapped; the power fails at any call of
/// rebuilding them.
pub(crate) fn indexes_are_rebuilt(seeds: u64) {
    let whole = filled();
    let names: Vec<String> = whole
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".idx"))
        .collect();
    let originals: Vec<_> = names.iter().map(|name| whole.contents(name)).collect();
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let context = || format!("seed {seed}");
        let disk = whole.duplicate();
        for name in &names {
            let mut bytes = disk.contents(name).unwrap();
            match random.u8(0..5) {
                0 => ensue_log::Storage::remove(&disk, name).unwrap(),
                1 => disk.overwrite(name, &bytes[..random.usize(0..bytes.len())]),
                2 => {
                    let from = random.usize(0..bytes.len());
                    random.fill(&mut bytes[from..]);
                    disk.overwrite(name, &bytes);
                }
                3 => {
                    let other = disk.contents(random.choice(&names).unwrap());
                    disk.overwrite(name, &other.unwrap_or_default());
                }
                _ => {}
            }
        }
        let cut = disk.duplicate();
        let log = trimming(&cut).unwrap();
        cut.power_off_after(random.u64(0..60));
        let _ = log.view().topics();
        drop(log);
        cut.crash(seed);
        for disk in [disk, cut] {
            let log = trimming(&disk).unwrap_or_else(|error| panic!("{}: {error}", context()));
            finds_every_key(&log, &context);
            let counted: u64 = log.view().topics().unwrap().iter().map(|t| t.records).sum();
            assert_eq!(counted, RECORDS, "{}", context());
            assert_eq!(verify(&log.view()).unwrap(), RECORDS, "{}", context());
            log.warm().unwrap();
            // What nothing has read yet is still damaged, and the check says so.
            let report = log.view().check(&mut |_| ()).unwrap();
            let damaged: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
            for (name, original) in names.iter().zip(&originals) {
                let is_said = damaged.iter().any(|damage| damage.contains(name));
                let is_same = disk.contents(name) == *original;
                assert!(is_same != is_said, "{}: {name}: {damaged:?}", context());
            }
            let only_indexes = damaged.iter().all(|damage| damage.contains(".idx"));
            assert!(only_indexes, "{}: {damaged:?}", context());
        }
    });
}
