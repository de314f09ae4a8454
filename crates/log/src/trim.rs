//! Retention: whole sealed segments, oldest first.

use std::sync::Arc;

use crate::error::Result;
use crate::files::{self, Manifest};
use crate::position::Position;
use crate::sabotage::Safeguard;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::storage;
use crate::store::Store;
use crate::trimmed;

/// What [`Log::trim`](crate::Log::trim) removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// The oldest position kept now.
    pub first: Position,
    /// How many segments were removed.
    pub segments: u64,
    /// How many bytes their files had.
    pub bytes: u64,
}

/// Removes what retention allows of the segments that end at or before `floor`.
pub(crate) fn trim(shared: &Shared, floor: u64) -> Result<Trimmed> {
    let store = &shared.store;
    let storage = &*store.storage;
    // One trim at a time: the manifest is held throughout.
    let mut manifest = shared.keeper.manifest();
    let floor = floor.min(oldest_checkpoint(shared)?);
    let (kept, bytes) = decide(shared, floor)?;
    let removed: Vec<Arc<Segment>> = store.list().iter().take(kept).cloned().collect();
    let first = match store.list().get(kept) {
        Some(segment) if kept > 0 => segment.first,
        _ => {
            let first = Position::new(store.first());
            return Ok(Trimmed {
                first,
                segments: 0,
                bytes: 0,
            });
        }
    };
    let window = shared.options.dedup_window as usize;
    keep_ids(store, &removed, window)?;
    // The manifest next: after a crash the next open finishes the removal.
    let newest = store
        .list()
        .last()
        .map_or(u64::MAX, |segment| segment.first);
    let changed = Manifest {
        first,
        newest,
        ..*manifest
    };
    if !Safeguard::TrimOrder.is_off() {
        changed.write(storage)?;
    }
    *manifest = changed;
    store.edit(|segments| drop(segments.drain(..kept)));
    for segment in &removed {
        storage::remove(storage, &files::index(segment.first))?;
        storage::remove(storage, &segment.name)?;
    }
    prune_ids(store, window)?;
    storage::sync_dir(storage, "log")?;
    Ok(Trimmed {
        first: Position::new(first),
        segments: removed.len() as u64,
        bytes,
    })
}

/// What a restart may have to read again starts at the older checkpoint.
fn oldest_checkpoint(shared: &Shared) -> Result<u64> {
    let kept = files::numbers(&*shared.store.storage, "checkpoint", "cp")?;
    Ok(kept.first().copied().unwrap_or(u64::MAX))
}

/// How many of the oldest segments go, and their bytes.
fn decide(shared: &Shared, floor: u64) -> Result<(usize, u64)> {
    let store = &shared.store;
    let retention = shared.options.retention;
    let segments = store.list().clone();
    let mut sizes = Vec::with_capacity(segments.len());
    for segment in &segments {
        sizes.push(store.header(segment)?.bytes);
    }
    let mut total: u64 = sizes.iter().sum();
    let now = (shared.options.clock)();
    let mut bytes = 0;
    let mut kept = 0;
    // The last segment is being written; each other one is as old as the next one's first frame.
    for ((segment, next), size) in segments.iter().zip(segments.iter().skip(1)).zip(&sizes) {
        let age = now.saturating_sub(store.header(next)?.time);
        let too_old = retention
            .age
            .is_some_and(|max| age as i128 > max.as_micros() as i128);
        let too_large = retention.bytes.is_some_and(|max| total > max);
        if segment.end() > floor || !(too_old || too_large) {
            break;
        }
        total -= size;
        bytes += size;
        kept += 1;
    }
    Ok((kept, bytes))
}

/// Before `removed`, which are the oldest segments of `store`, are removed: writes the ids of those
/// that the window reaches back to.
fn keep_ids(store: &Store, removed: &[Arc<Segment>], window: usize) -> Result<()> {
    let mut newer = newer_ids(store, removed.len(), window)?;
    for segment in removed.iter().rev() {
        if newer >= window || Safeguard::TrimmedIds.is_off() {
            break;
        }
        let ids = store.ids_of(segment)?;
        trimmed::write(&*store.storage, store.uuid, segment.first, &ids)?;
        newer += ids.len();
    }
    Ok(())
}

/// Removes the files of ids that the window has passed.
fn prune_ids(store: &Store, window: usize) -> Result<()> {
    let storage = &*store.storage;
    let mut newer = newer_ids(store, 0, window)?;
    for first in trimmed::firsts(storage, store.first())?.into_iter().rev() {
        if newer >= window {
            storage::remove(storage, &files::ids(first))?;
        } else {
            newer += trimmed::count(storage, first)?;
        }
    }
    Ok(())
}

/// How many ids the segments of `store` but the first `skip` hold, or `enough`.
fn newer_ids(store: &Store, skip: usize, enough: usize) -> Result<usize> {
    let segments = store.list().clone();
    let mut count = 0;
    for segment in segments.iter().skip(skip).rev() {
        if count >= enough {
            break;
        }
        count += store.ids_count(segment)?;
    }
    Ok(count)
}
