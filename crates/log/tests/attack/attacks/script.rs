//! A scripted run of a log on one thread, what the outside knows of it, and what must hold
//! whatever happened to the disk.

use std::sync::Arc;

use ensue_log::storage::Fault;
use ensue_log::{Log, Options, Position, Result, Retention};

use crate::support::{batch, options, verify};

/// What the outside knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Records before this were acknowledged.
    pub(crate) acknowledged: u64,
    /// Records at this and after were never submitted.
    pub(crate) submitted: u64,
    /// The position of the newest checkpoint that was acknowledged.
    pub(crate) checkpoint: u64,
    /// Up to where a trim may have been asked to go.
    pub(crate) floor: u64,
}

/// What a run does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// Each opening, and whether it ends with a close.
    pub(crate) closes: &'static [bool],
    pub(crate) rounds: u64,
    /// The sizes of the batches of a round.
    pub(crate) counts: &'static [u64],
    /// After how many rounds a checkpoint and a trim come.
    pub(crate) keep_every: u64,
}

/// Several segments, so that there are rolls, indexes and trims.
pub(crate) const LONG: Script = Script {
    closes: &[true, false, true],
    rounds: 5,
    counts: &[1, 14, 3],
    keep_every: 2,
};

/// The least that rolls, writes an index, checkpoints, trims, closes and opens again.
pub(crate) const SHORT: Script = Script {
    closes: &[true, false],
    rounds: 2,
    counts: &[2, 75],
    keep_every: 1,
};

/// A log that is new.
pub(crate) const FIRST: Script = Script {
    closes: &[false],
    rounds: 1,
    counts: &[1],
    keep_every: 2,
};

pub(crate) fn open(disk: &Fault) -> Result<Log> {
    let retention = Retention {
        bytes: Some(140_000),
        age: None,
    };
    Log::open(
        Arc::new(disk.clone()),
        Options {
            retention,
            // The same bytes every time.
            clock: Arc::new(|| 1_700_000_000_000_000),
            ..options()
        },
    )
}

impl Script {
    /// Appends, checkpoints, trims, closes, opens again, until something fails.
    pub(crate) fn run(&self, disk: &Fault, known: &mut Known) -> Result<()> {
        for close in self.closes {
            let log = open(disk)?;
            for round in 1..=self.rounds {
                for count in self.counts {
                    let at = log.end().get();
                    known.submitted = known.submitted.max(at + count);
                    let receipt = log.append(batch(at, *count))?;
                    assert_eq!(receipt.first().get(), at);
                    known.acknowledged = receipt.end().get();
                }
                if round % self.keep_every == 0 {
                    let at = log.durable();
                    log.checkpoint(at, &at.get().to_le_bytes())?;
                    known.checkpoint = at.get();
                    known.floor = at.get();
                    log.trim(at)?;
                }
            }
            if *close {
                log.close()?;
            }
        }
        Ok(())
    }

    /// How many calls the whole run makes.
    pub(crate) fn calls(&self) -> u64 {
        let disk = Fault::new();
        self.run(&disk, &mut Known::default()).unwrap();
        disk.calls()
    }
}

/// Opens the log and checks all it must be, goes on with it, then cuts the power once more.
pub(crate) fn check(disk: &Fault, known: &Known, context: &dyn Fn() -> String) {
    let end = check_once(disk, known, context);
    disk.crash(end);
    let context = || format!("{}, then a power cut after it went on", context());
    let log = open(disk).unwrap_or_else(|error| panic!("{}: {error}", context()));
    let found = verify(&log.view()).unwrap_or_else(|error| panic!("{}: {error}", context()));
    assert_eq!(found, end, "{}", context());
}

fn check_once(disk: &Fault, known: &Known, context: &dyn Fn() -> String) -> u64 {
    let log = open(disk).unwrap_or_else(|error| panic!("{}: {error}", context()));
    let end = verify(&log.view()).unwrap_or_else(|error| panic!("{}: {error}", context()));
    let Known {
        acknowledged,
        submitted,
        ..
    } = *known;
    assert!(
        end >= acknowledged,
        "{}: {end} of {acknowledged} acknowledged records are left",
        context()
    );
    assert!(
        end <= submitted,
        "{}: the log has {end} records, {submitted} were submitted",
        context()
    );
    match log.view().checkpoint().unwrap() {
        Some((at, state)) => {
            assert!(
                at.get() >= known.checkpoint,
                "{}: a checkpoint was lost",
                context()
            );
            assert_eq!(state[..], at.get().to_le_bytes(), "{}", context());
        }
        None => assert_eq!(known.checkpoint, 0, "{}: a checkpoint was lost", context()),
    }
    let floor = Position::new(known.floor.max(known.submitted));
    assert!(log.first() <= floor, "{}: trimmed too far", context());
    // It goes on, and knows its ids.
    if end > log.first().get() {
        let receipt = log.append(batch(end - 1, 3)).unwrap();
        assert_eq!(
            (receipt.appended(), receipt.first().get()),
            (2, end - 1),
            "{}: an id was forgotten",
            context()
        );
    } else {
        log.append(batch(end, 2)).unwrap();
    }
    let report = log.view().check(&mut |_| ()).unwrap();
    assert!(report.is_good(), "{}: {:?}", context(), report.damage);
    verify(&log.view()).unwrap()
}
