//! Verifying every byte.

use std::sync::Arc;

use crate::checkpoint;
use crate::chunk::Chunk;
use crate::error::{Error, Result};
use crate::files;
use crate::index::Topics;
use crate::position::Position;
use crate::segment::{Segment, Spot};
use crate::storage::Reach;
use crate::store::Store;
use crate::trimmed;

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of segments verified.
    pub bytes: u64,
    /// Bytes of all segment files: what is left of the last one is not read.
    pub bytes_total: u64,
}

/// What a check found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Frames that are good.
    pub frames: u64,
    /// Records that are good.
    pub records: u64,
    /// Bytes of good frames.
    pub bytes: u64,
    /// The oldest position kept.
    pub first: Position,
    /// The position after the last record looked at.
    pub end: Position,
    /// Damage: of records, of checkpoints, of indexes (which are rebuilt when needed).
    pub damage: Vec<Error>,
}

impl Report {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.damage.is_empty()
    }
}

pub(crate) fn check(store: &Arc<Store>, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    let segments = store.list().clone();
    let mut report = Report {
        first: Position::new(store.first()),
        ..Report::default()
    };
    report.end = Position::new(store.durable());
    let mut sizes = 0;
    for segment in &segments {
        match store.opened(segment) {
            Ok(opened) => sizes += opened.header.bytes,
            Err(Error::Trimmed { .. }) => {}
            Err(error) => report.damage.push(damage(error)?),
        }
    }
    let mut chain = None;
    for segment in &segments {
        report.segments += 1;
        let mut advance = |bytes| {
            progress(Progress {
                bytes,
                bytes_total: sizes,
            })
        };
        let mut topics = None;
        match check_segment(store, segment, chain, &mut report, &mut advance) {
            Ok((last, found)) => (chain, topics) = (Some(last), Some(found)),
            // Removed since the segments were listed.
            Err(Error::Trimmed { .. }) => {
                report.segments -= 1;
                continue;
            }
            Err(error) => {
                report.damage.push(damage(error)?);
                chain = None;
            }
        }
        check_index(store, segment, topics.as_ref(), &mut report)?;
    }
    for at in files::numbers(&*store.storage, "checkpoint", "cp")? {
        if let Err(error) = checkpoint::read(&*store.storage, store.uuid, at) {
            report.damage.push(damage(error)?);
        }
    }
    for first in trimmed::firsts(&*store.storage, store.first())? {
        if let Err(error) = trimmed::read(&*store.storage, store.uuid, first) {
            report.damage.push(damage(error)?);
        }
    }
    if let Err(error) = files::Manifest::read(&*store.storage) {
        report.damage.push(damage(error)?);
    }
    Ok(report)
}

/// Damage goes into the report, anything else ends the check.
fn damage(error: Error) -> Result<Error> {
    match error {
        Error::Corrupt { .. } | Error::Version { .. } => Ok(error),
        other => Err(other),
    }
}

/// Reads a segment to its end; gives the checksum of its last frame, and the topics it has found.
fn check_segment(
    store: &Arc<Store>,
    segment: &Arc<Segment>,
    chain: Option<u32>,
    report: &mut Report,
    advance: &mut dyn FnMut(u64),
) -> Result<(u32, Topics)> {
    let opened = store.opened(segment)?;
    if chain.is_some_and(|chain| chain != opened.header.chain) {
        let what = "the segment does not follow the one before it";
        return Err(Error::corrupt(store.shown(segment), 64, what));
    }
    let mut spot = segment.start(&opened);
    let mut topics = Topics::default();
    while spot.first < segment.end() {
        let run = store.read_run(Reach::Disk, segment, spot, usize::MAX)?;
        let Some(last) = run.frames.last() else { break };
        report.frames += run.frames.len() as u64;
        report.records += last.end() - spot.first;
        report.bytes += run.next_offset - spot.offset;
        let next = Spot {
            offset: run.next_offset,
            first: last.end(),
            chain: run.chain,
        };
        advance(report.bytes);
        for entry in &Chunk::whole(run.frames, spot.first) {
            let ordinal = (entry.position.get() - segment.first) as u32;
            topics.push(entry.kind, entry.topic, ordinal);
        }
        spot = next;
    }
    Ok((spot.chain.unwrap_or_default(), topics))
}

/// Checks the index file of a segment, if it has one: every byte of it and, with the `topics` found in
/// the segment, that it says the same.
fn check_index(
    store: &Arc<Store>,
    segment: &Arc<Segment>,
    topics: Option<&Topics>,
    report: &mut Report,
) -> Result<()> {
    if store.with_memory(segment, |_| ()).is_some() {
        return Ok(());
    }
    let check = || {
        let Some(sealed) = store.index_file(segment)?.open()? else {
            return Ok(());
        };
        sealed.check()?;
        topics.map_or(Ok(()), |topics| sealed.check_topics(topics.list()))
    };
    match check() {
        Ok(()) | Err(Error::Trimmed { .. }) => Ok(()),
        // One of an earlier version is made again when the log is opened.
        Err(Error::Version {
            found, supported, ..
        }) if found < supported => Ok(()),
        Err(error) => {
            report.damage.push(damage(error)?);
            Ok(())
        }
    }
}
