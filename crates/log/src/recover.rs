//! Opening: finding the end of the log, and telling a torn write from damage.

use std::io::IoSlice;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::files::{self, Clean, Manifest};
use crate::frame;
use crate::hash::HashKey;
use crate::index::{Active, index_frames};
use crate::options::{Options, SEGMENT_BYTES_MIN};
use crate::sabotage::Safeguard;
use crate::segment::{HEADER_BYTES, Opened, Segment, Spot};
use crate::storage::{self, Reach, Storage};
use crate::store::{READ_BYTES_MAX, Store};
use crate::tip::Tip;

/// What opening found and repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the log had been closed; a new log counts as closed. `false` after a crash.
    pub clean: bool,
    /// The file whose torn end was cut off: the remains of a write that was never acknowledged.
    pub torn_file: Option<String>,
    /// Where the torn end started.
    pub torn_offset: u64,
    /// How many bytes were cleared.
    pub torn_bytes: u64,
    /// How many bytes were read to find the end.
    pub scanned_bytes: u64,
    /// How many segments there are.
    pub segments: u64,
}

/// What the log starts with.
pub(crate) struct Found {
    pub(crate) store: Store,
    pub(crate) tip: Tip,
    pub(crate) manifest: Manifest,
    pub(crate) recovery: Recovery,
    /// The size of a spare segment that is ready.
    pub(crate) spare: Option<u64>,
}

/// Finds the end of the log in `storage`, which the caller owns, or starts a new log.
pub(crate) fn recover(storage: Arc<dyn Storage>, options: &Options) -> Result<Found> {
    let manifest = Manifest::read(&*storage)?;
    let clean = Clean::read(&*storage)?;
    let firsts = files::numbers(&*storage, "log", "seg")?;
    let manifest = match manifest {
        Some(manifest) => {
            if clean.is_none() && !Safeguard::RecoveredNames.is_off() {
                // After a crash its name may be in memory only, also when nothing was appended
                // yet: segments without a manifest would not be opened.
                storage::sync_dir(&*storage, "")?;
            }
            manifest
        }
        None => begin(&*storage, &firsts)?,
    };
    let firsts = drop_trimmed(&*storage, &manifest, firsts)?;
    storage::remove(&*storage, files::NEXT)?;
    storage::remove(&*storage, files::SPARE_TMP)?;
    let spare = find_spare(&*storage, options.segment_bytes)?;

    let mut recovery = Recovery {
        clean: clean.is_some() || firsts.is_empty(),
        ..Recovery::default()
    };
    recovery.segments = firsts.len() as u64;
    let mut segments = sealed_segments(&firsts);
    let mut active = Active::new(manifest.first);
    let mut tip = Tip::new(manifest.first);
    if let Some(last) = firsts.last() {
        let (end, found) = find_end(&*storage, &manifest, *last, clean, &mut recovery)?;
        if clean.is_none() {
            // After a crash names and tail may be in memory only: durable first, then served.
            if !Safeguard::RecoveredNames.is_off() {
                storage::sync_dir(&*storage, "log")?;
            }
            settle(&end, &found, &storage.describe(&files::segment(*last)))?;
        }
        active = found;
        let segment;
        (segment, tip) = go_on_at(end, *last);
        segments.push(segment);
    }
    check_clean(&*storage, clean, &manifest, firsts.last().copied(), &tip)?;
    if clean.is_some() {
        storage::remove(&*storage, files::CLEAN)?;
        storage::sync_dir(&*storage, "")?;
    }
    let store = Store::new(
        storage,
        manifest.uuid,
        manifest.hash_key,
        true,
        segments,
        active,
    );
    Ok(Found {
        store,
        tip,
        manifest,
        recovery,
        spare,
    })
}

/// The last segment, which begins at `first`, and the tip at its end.
fn go_on_at(end: End, first: u64) -> (Arc<Segment>, Tip) {
    let spot = end.spot;
    let opened = Some(Arc::clone(&end.opened));
    let segment = Arc::new(Segment::new(first, spot.first, spot.offset, opened));
    let chain = spot.chain.unwrap_or_default();
    let place = (Arc::clone(&segment), end.opened);
    let tip = Tip::at(place, spot.offset, spot.first, chain, end.time);
    (segment, tip)
}

/// A new log, unless there are segments without a manifest.
fn begin(storage: &dyn Storage, firsts: &[u64]) -> Result<Manifest> {
    if !firsts.is_empty() {
        let what = format!("it is missing, but there are {} segments", firsts.len());
        return Err(Error::corrupt(storage.describe(files::MANIFEST), 0, what));
    }
    let manifest = Manifest::new();
    manifest.write(storage)?;
    Ok(manifest)
}

/// Finishes a trim that was interrupted, then checks that nothing else is missing.
fn drop_trimmed(
    storage: &dyn Storage,
    manifest: &Manifest,
    mut firsts: Vec<u64>,
) -> Result<Vec<u64>> {
    let kept = firsts.partition_point(|first| *first < manifest.first);
    if kept > 0 {
        // The process may have died before the manifest's name was durable: were the segments
        // removed first, a power cut could leave the old manifest, which must have them.
        storage::sync_dir(storage, "")?;
    }
    for first in firsts.drain(..kept) {
        storage::remove(storage, &files::segment(first))?;
    }
    // Also of segments that are gone: one may have been rebuilt while its segment was removed.
    for first in files::numbers(storage, "idx", "idx")? {
        if first < manifest.first {
            storage::remove(storage, &files::index(first))?;
        }
    }
    check_present(storage, manifest, &firsts)?;
    Ok(firsts)
}

pub(crate) fn check_present(
    storage: &dyn Storage,
    manifest: &Manifest,
    firsts: &[u64],
) -> Result<()> {
    let missing = |first| {
        Err(Error::corrupt(
            storage.describe(&files::segment(first)),
            0,
            "the segment is missing",
        ))
    };
    if firsts.first().is_some_and(|first| *first != manifest.first) {
        return missing(manifest.first);
    }
    if manifest.newest != u64::MAX && !firsts.contains(&manifest.newest) {
        return missing(manifest.newest);
    }
    Ok(())
}

fn find_spare(storage: &dyn Storage, segment_bytes: u64) -> Result<Option<u64>> {
    let Ok(file) = storage.open_read(files::SPARE) else {
        return Ok(None);
    };
    let bytes = file
        .len()
        .map_err(Error::io("read", storage.describe(files::SPARE)))?;
    if (SEGMENT_BYTES_MIN..=segment_bytes).contains(&bytes) {
        return Ok(Some(bytes));
    }
    storage::remove(storage, files::SPARE)?;
    Ok(None)
}

/// All segments but the last: each ends where the next one starts.
pub(crate) fn sealed_segments(firsts: &[u64]) -> Vec<Arc<Segment>> {
    let pairs = firsts.iter().zip(firsts.iter().skip(1));
    pairs
        .map(|(first, end)| Arc::new(Segment::new(*first, *end, u64::MAX, None)))
        .collect()
}

/// A log that was closed ends where it said: what is missing or different there is damage, and the
/// place where the last good frame ends is where to look.
fn check_clean(
    storage: &dyn Storage,
    clean: Option<Clean>,
    manifest: &Manifest,
    last: Option<u64>,
    tip: &Tip,
) -> Result<()> {
    let Some(clean) = clean else { return Ok(()) };
    let found = Clean {
        uuid: manifest.uuid,
        end: tip.position(),
        chain: tip.chain(),
    };
    if clean == found || Safeguard::CleanMarker.is_off() {
        return Ok(());
    }
    let (file, offset) = match last {
        Some(last) if clean.uuid == found.uuid => (files::segment(last), tip.offset()),
        _ => (files::CLEAN.to_owned(), 0),
    };
    let what = format!(
        "the log was closed at position {}, its good frames end here, at {}",
        clean.end, found.end
    );
    Err(Error::corrupt(storage.describe(&file), offset, what))
}

/// The end of the last segment.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) opened: Arc<Opened>,
    /// After the last good frame.
    pub(crate) spot: Spot,
    pub(crate) time: i64,
}

fn find_end(
    storage: &dyn Storage,
    manifest: &Manifest,
    first: u64,
    clean: Option<Clean>,
    recovery: &mut Recovery,
) -> Result<(End, Active)> {
    let opened = Arc::new(Opened::open(storage, manifest.uuid, first, true)?);
    let name = storage.describe(&files::segment(first));
    let (mut end, active) = start(opened, manifest.hash_key, first, &name)?;
    recovery.scanned_bytes = end.spot.offset;
    if clean.is_none() {
        repair_tail(&mut end, &name, recovery)?;
    }
    Ok((end, active))
}

/// Reads all good frames of a segment from its start.
pub(crate) fn start(
    opened: Arc<Opened>,
    hash_key: HashKey,
    first: u64,
    name: &str,
) -> Result<(End, Active)> {
    let mut active = Active::new(first);
    let segment = Segment::new(first, u64::MAX, u64::MAX, None);
    let spot = segment.start(&opened);
    let time = opened.header.time;
    let mut end = End { opened, spot, time };
    go_on(&mut end, &mut active, hash_key, name)?;
    Ok((end, active))
}

/// Reads all good frames from `end` on into the index.
pub(crate) fn go_on(
    end: &mut End,
    active: &mut Active,
    hash_key: HashKey,
    name: &str,
) -> Result<()> {
    // Its end is what is looked for: as far as the frames are good.
    let segment = Segment::new(active.base(), u64::MAX, u64::MAX, None);
    loop {
        match segment.read(&end.opened, end.spot, READ_BYTES_MAX, Reach::Disk, &|| {
            name.to_owned()
        }) {
            Ok(run) => {
                index_frames(hash_key, active, &run.frames, end.spot.offset);
                let Some(last) = run.frames.last() else {
                    return Ok(());
                };
                end.time = last.time;
                end.spot = Spot {
                    offset: run.next_offset,
                    first: last.end(),
                    chain: run.chain,
                };
            }
            Err(Error::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What is behind the last good frame.
struct Beyond {
    /// A good frame, and where: the one before it was damaged after it had been acknowledged.
    frame: Option<(u64, frame::Header)>,
    /// Up to where there are bytes that are not zero.
    used: u64,
    /// How far was read.
    scanned: u64,
}

/// Reads from `end` to the end of the segment, or to the first good frame.
fn look_beyond(end: &End, name: &str) -> Result<Beyond> {
    let (start, salt) = (end.spot.offset, end.opened.header.salt);
    let read = |offset, bytes: usize| {
        let mut buffer = vec![0; bytes];
        let read = storage::read_full(&*end.opened.handle, &mut buffer, offset)
            .map_err(Error::io("read", name))?;
        buffer.truncate(read);
        Ok::<_, Error>(buffer)
    };
    // A torn frame may hold anything, also bytes that look like a frame.
    let torn = frame::Header::decode(&read(start, frame::HEADER_BYTES)?, salt);
    let search = start + torn.map_or(8, |(header, _)| header.frame_bytes());

    let mut beyond = Beyond {
        frame: None,
        used: start,
        scanned: start,
    };
    // Its own header holds, but it was written after another frame than the one that is there:
    // the device lost a write. Whatever is written at this place follows the frame before it.
    let follows = |header: &frame::Header| {
        header.first == end.spot.first && end.spot.chain.is_none_or(|chain| chain == header.chain)
    };
    if let Some((header, _)) = torn.filter(|(header, _)| !follows(header))
        && !Safeguard::Chain.is_off()
    {
        beyond.frame = Some((start, header));
        return Ok(beyond);
    }
    let mut offset = start;
    loop {
        // Pieces overlap, so that a header on their border is found.
        let piece = read(offset, READ_BYTES_MAX + frame::HEADER_BYTES)?;
        let skip = search.saturating_sub(offset).min(piece.len() as u64) as usize;
        let from = piece.get(skip..).unwrap_or_default();
        if let Some((at, header)) = frame::find(from, salt) {
            beyond.frame = Some((offset + (skip + at) as u64, header));
            return Ok(beyond);
        }
        if let Some(last) = last_used(&piece) {
            beyond.used = offset + last as u64 + 1;
        }
        beyond.scanned = offset + piece.len() as u64;
        if piece.len() <= READ_BYTES_MAX {
            return Ok(beyond);
        }
        offset += READ_BYTES_MAX as u64;
    }
}

/// Acknowledged records at `end` are damaged: `beyond` are others.
fn damaged(end: &End, name: &str, (at, header): (u64, frame::Header)) -> Error {
    let first = header.first;
    let what = if at == end.spot.offset {
        format!(
            "the frame here, for position {first}, does not follow the one before it: acknowledged \
             records are damaged"
        )
    } else {
        format!(
            "no good frame here, but one for position {first} at byte {at}: acknowledged records \
             are damaged"
        )
    };
    Error::corrupt(name, end.spot.offset, what)
}

/// Behind the last good frame: nothing, or the remains of one write, which are cleared. A good
/// frame there means that the one before it was damaged after it had been acknowledged.
fn repair_tail(end: &mut End, name: &str, recovery: &mut Recovery) -> Result<()> {
    let start = end.spot.offset;
    let beyond = look_beyond(end, name)?;
    if let Some(frame) = beyond.frame
        && !Safeguard::SearchBeyond.is_off()
    {
        return Err(damaged(end, name, frame));
    }
    recovery.scanned_bytes = beyond.scanned;
    let used = beyond.used;
    if used > start && !Safeguard::TornClear.is_off() {
        tracing::warn!(
            file = name,
            offset = start,
            bytes = used - start,
            "a torn write was cleared"
        );
        clear(end, start, used, name)?;
        recovery.torn_file = Some(name.to_owned());
        recovery.torn_offset = start;
        recovery.torn_bytes = used - start;
    }
    Ok(())
}

/// For a reader, who repairs nothing: a good frame behind the last good one is damage, unless a
/// writer was at work, whose frames are taken in.
pub(crate) fn confirm_end(
    end: &mut End,
    active: &mut Active,
    hash_key: HashKey,
    name: &str,
) -> Result<()> {
    while let Some(frame) = look_beyond(end, name)?.frame {
        let before = end.spot.offset;
        go_on(end, active, hash_key, name)?;
        if end.spot.offset == before {
            return Err(damaged(end, name, frame));
        }
    }
    Ok(())
}

/// Where the last byte that is not zero is.
fn last_used(piece: &[u8]) -> Option<usize> {
    /// Compared whole: most of a segment's end is zeroes.
    const ZEROES: [u8; 4096] = [0; 4096];
    let used = |chunk: &[u8]| {
        ZEROES
            .get(..chunk.len())
            .is_none_or(|zeroes| chunk != zeroes)
    };
    let number = piece.chunks(ZEROES.len()).rposition(used)?;
    let start = number * ZEROES.len();
    let within = piece
        .get(start..)?
        .iter()
        .take(ZEROES.len())
        .rposition(|byte| *byte != 0)?;
    Some(start + within)
}

/// Makes what was found durable. A sync alone may not: where an earlier one failed, the system
/// holds the pages for clean although they never reached the disk. So everything that may have
/// been written and not synced, the header and the last frame, is written again.
fn settle(end: &End, active: &Active, name: &str) -> Result<()> {
    if Safeguard::RecoveredTail.is_off() {
        return Ok(());
    }
    let last = active
        .frames()
        .last()
        .map(|frame| u64::from(frame.offset) * 8);
    let ranges = [
        Some((0, HEADER_BYTES)),
        last.map(|start| (start, end.spot.offset)),
    ];
    for (start, stop) in ranges.into_iter().flatten() {
        let mut bytes = vec![0; (stop - start) as usize];
        storage::read_full(&*end.opened.handle, &mut bytes, start)
            .map_err(Error::io("read", name))?;
        storage::write_all(&*end.opened.handle, &mut [IoSlice::new(&bytes)], start)
            .map_err(Error::io("write", name))?;
    }
    storage::sync(&*end.opened.handle).map_err(Error::io("sync", name))
}

/// Zeroes a range durably.
fn clear(end: &End, mut from: u64, to: u64, name: &str) -> Result<()> {
    let zeroes = vec![0; READ_BYTES_MAX];
    while from < to {
        let bytes = (to - from).min(zeroes.len() as u64) as usize;
        let slice = IoSlice::new(zeroes.get(..bytes).unwrap_or_default());
        storage::write_all(&*end.opened.handle, &mut [slice], from)
            .map_err(Error::io("clear", name))?;
        from += bytes as u64;
    }
    storage::sync(&*end.opened.handle).map_err(Error::io("sync", name))
}
