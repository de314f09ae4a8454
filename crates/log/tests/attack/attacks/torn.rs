//! The last write reached the disk in part: opening yields exactly the state before it. The same
//! in front of a whole frame is damage, and is refused with file and offset.

use ensue_log::Error;
use ensue_log::storage::Fault;

use super::effort::each;
use crate::support::{batch, last_segment, open, verify};

/// A log that was not closed, with 5 records in two frames and 3 in the last one.
struct Torn {
    disk: Fault,
    name: String,
    whole: Vec<u8>,
    /// Where the frame before the last one starts, and the last one, and where it ends.
    before: usize,
    start: usize,
    end: usize,
}

impl Torn {
    fn new() -> Self {
        let disk = Fault::new();
        let log = open(&disk).unwrap();
        let end = || log.status().bytes as usize + 4096;
        log.append(batch(0, 2)).unwrap();
        let before = end();
        log.append(batch(2, 3)).unwrap();
        let start = end();
        log.append(batch(5, 3)).unwrap();
        let end = end();
        drop(log);
        let name = last_segment(&disk);
        let whole = disk.contents(&name).unwrap();
        Self {
            disk,
            name,
            whole,
            before,
            start,
            end,
        }
    }

    /// The disk with the last segment replaced.
    fn with(&self, bytes: &[u8]) -> Fault {
        let disk = self.disk.duplicate();
        disk.overwrite(&self.name, bytes);
        disk
    }

    /// Opening finds what was there before the last frame, says what it cut, and goes on.
    fn is_repaired(&self, bytes: &[u8], context: &str) {
        let disk = self.with(bytes);
        let log = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        // What differs in nothing is not torn.
        let is_lost = bytes.get(self.start..self.end) != self.whole.get(self.start..self.end);
        let end = verify(&log.view()).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(end, if is_lost { 5 } else { 8 }, "{context}");
        let recovery = log.recovery();
        let rest = if is_lost { self.start } else { self.end };
        let is_used = bytes.iter().skip(rest).any(|byte| *byte != 0);
        assert_eq!(recovery.torn_file.is_some(), is_used, "{context}");
        if is_used {
            assert_eq!(recovery.torn_offset, rest as u64, "{context}");
        }
        let left = disk.contents(&self.name).unwrap();
        assert!(left.iter().skip(rest).all(|byte| *byte == 0), "{context}");
        // Durably so: the power fails, and the same records fit in again.
        log.append(batch(end, 4)).unwrap();
        drop(log);
        disk.crash(end);
        let log = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(verify(&log.view()).unwrap(), end + 4, "{context}");
        assert_eq!(log.recovery().torn_file, None, "{context}");
    }

    /// Opening fails, names the place, and changes nothing.
    fn is_refused(&self, bytes: &[u8], offset: usize, context: &str) {
        let disk = self.with(bytes);
        let error = match open(&disk) {
            Err(error) => error,
            Ok(log) => panic!("{context}: opened with {} records", log.durable()),
        };
        let Error::Corrupt {
            file, offset: at, ..
        } = &error
        else {
            panic!("{context}: {error}")
        };
        assert!(file.ends_with(&self.name), "{context}: {error}");
        assert_eq!(*at, offset as u64, "{context}: {error}");
        assert_eq!(
            disk.contents(&self.name).unwrap(),
            bytes,
            "{context}: something was repaired"
        );
    }
}

/// What stands where the last write did not arrive.
#[derive(Clone, Copy, Debug)]
enum Tail {
    Zeroes,
    /// The file ends there.
    Nothing,
    Ones,
    Noise,
}

const TAILS: [Tail; 4] = [Tail::Zeroes, Tail::Nothing, Tail::Ones, Tail::Noise];

impl Tail {
    /// `bytes` with something else from `from` to `to`.
    fn replace(self, bytes: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Zeroes => bytes[from..to].fill(0),
            Self::Nothing => bytes.truncate(from),
            Self::Ones => bytes[from..to].fill(0xFF),
            Self::Noise => fastrand::Rng::with_seed(from as u64).fill(&mut bytes[from..to]),
        }
        bytes
    }
}

/// The last batch cut at every `step`-th byte, with each kind of tail.
pub(crate) fn at_every_byte(step: usize) {
    let torn = Torn::new();
    each(((torn.end - torn.start) / step) as u64, |number| {
        let cut = torn.start + number as usize * step;
        for tail in TAILS {
            let bytes = tail.replace(&torn.whole, cut, torn.end);
            torn.is_repaired(&bytes, &format!("{tail:?} from byte {cut}"));
        }
    });
}

/// Noise far beyond the end of the last batch, as a write that grew leaves it.
pub(crate) fn far_behind_the_end() {
    let torn = Torn::new();
    each(64, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let from = random.usize(torn.end..torn.whole.len());
        let to = random.usize(from..=torn.whole.len());
        let bytes = Tail::Noise.replace(&torn.whole, from, to);
        torn.is_repaired(&bytes, &format!("noise from {from} to {to}"));
    });
}

/// Any subset of the sectors of the last batch is missing.
pub(crate) fn any_sectors_missing(seeds: u64) {
    let torn = Torn::new();
    let sectors: Vec<usize> = (torn.start / 512..torn.end.div_ceil(512)).collect();
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = torn.whole.clone();
        for sector in &sectors {
            if random.bool() {
                bytes[(sector * 512).max(torn.start)..((sector + 1) * 512).min(torn.end)].fill(0);
            }
        }
        torn.is_repaired(&bytes, &format!("seed {seed}"));
    });
}

/// An acknowledged frame damaged at every byte while a later one is whole.
pub(crate) fn before_a_whole_frame(step: usize) {
    let torn = Torn::new();
    each(((torn.start - 4096) / step) as u64, |number| {
        let cut = 4096 + number as usize * step;
        // The first frame ends where the second one starts.
        let (from, to) = if cut < torn.before {
            (4096, torn.before)
        } else {
            (torn.before, torn.start)
        };
        for tail in [Tail::Zeroes, Tail::Ones, Tail::Noise] {
            let bytes = tail.replace(&torn.whole, cut, to);
            if bytes != torn.whole {
                torn.is_refused(&bytes, from, &format!("{tail:?} from byte {cut} to {to}"));
            }
        }
    });
}

/// A log that was closed ends where it said, so that a shorter one is damage.
pub(crate) fn after_a_clean_shutdown(step: usize) {
    let mut torn = Torn::new();
    let log = open(&torn.disk).unwrap();
    log.close().unwrap();
    drop(log);
    torn.whole = torn.disk.contents(&torn.name).unwrap();
    each(((torn.end - torn.start) / step) as u64, |number| {
        let cut = torn.start + number as usize * step;
        for tail in TAILS {
            let bytes = tail.replace(&torn.whole, cut, torn.end);
            if bytes.get(..torn.end) != torn.whole.get(..torn.end) {
                torn.is_refused(&bytes, torn.start, &format!("{tail:?} from byte {cut}"));
            }
        }
    });
    let log = open(&torn.disk).unwrap();
    assert!(log.recovery().clean);
    assert_eq!(verify(&log.view()).unwrap(), 8);
}
