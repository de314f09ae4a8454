//! What operators do: dead letters, deleting groups, schedules.

use std::sync::Arc;

use ensue_log as log;
use hashbrown::HashSet;

use crate::engine::{DeadLetter, DeadLetterFilter, Position, READ_EVENTS_MAX, Scheduled};
use crate::error::{EngineError, Error, GroupError, Result};
use crate::event::EventId;
use crate::model::change::Change;
use crate::model::group::{Group, JoinedMember};
use crate::model::item::{Dead, Item};
use crate::model::record::{Cancelled, Deleted, Discarded, Redriven};
use crate::model::schedule::Due;
use crate::model::state::State;
use crate::runtime::engine_inner::{EngineInner, batch_of};
use crate::runtime::lookup;
use crate::runtime::pending_changes::Terms;
use crate::time::Timestamp;

/// A dead letter without its event.
pub(crate) struct Found {
    group: String,
    position: u64,
    item: Item,
    dead: Dead,
    parked: usize,
}

pub(crate) async fn redrive(
    inner: &Arc<EngineInner>,
    name: &str,
    filter: DeadLetterFilter,
) -> Result<usize> {
    let count = change_dead(inner, name, filter, |group, positions, at| {
        Change::Redriven(Redriven {
            group,
            positions,
            at,
        })
    });
    let count = count.await?;
    tracing::info!(group = name, count, "redrove dead letters");
    Ok(count)
}

pub(crate) async fn discard(
    inner: &Arc<EngineInner>,
    name: &str,
    filter: DeadLetterFilter,
) -> Result<usize> {
    let count = change_dead(inner, name, filter, |group, positions, at| {
        Change::Discarded(Discarded {
            group,
            positions,
            at,
        })
    });
    let count = count.await?;
    tracing::info!(group = name, count, "discarded dead letters");
    Ok(count)
}

/// Records what becomes of the dead letters that `filter` selects; returns how many.
async fn change_dead(
    inner: &Arc<EngineInner>,
    name: &str,
    filter: DeadLetterFilter,
    change: impl Fn(String, Vec<u64>, Timestamp) -> Change,
) -> Result<usize> {
    let _turn = inner.admin_turn().await;
    loop {
        let positions = dead_positions(inner, name, &filter)?;
        let count = positions.len();
        if count == 0 {
            return Ok(0);
        }
        let now = inner.now();
        let change = change(name.to_owned(), positions, now);
        match inner.record(vec![change]).await {
            Err(Error::Engine(EngineError::Overtaken { .. })) => {}
            outcome => return outcome.map(|()| count),
        }
    }
}

fn dead_positions(inner: &EngineInner, name: &str, filter: &DeadLetterFilter) -> Result<Vec<u64>> {
    inner.check_open()?;
    let locked = inner.advanced();
    let found = find(name, existing(locked.state(), name)?, filter);
    Ok(found.map(|found| found.position).collect())
}

pub(crate) async fn delete_group(inner: &Arc<EngineInner>, name: &str) -> Result<()> {
    inner.check_open()?;
    let _turn = inner.admin_turn().await;
    {
        let locked = inner.locked();
        let (group, processes) = (existing(locked.state(), name)?, &locked.state().processes);
        // In other processes too: they would make it again at once, from its start.
        let mut members = group.members().iter();
        let is_joined = |member: &JoinedMember| processes.is_alive(member.boot);
        let is_elsewhere = processes.is_shared() && members.any(is_joined);
        if locked.session(name).is_some() || is_elsewhere {
            return Err(Error::Group(GroupError::HasMembers {
                group: name.to_owned(),
            }));
        }
    }
    let at = inner.now();
    inner
        .record(vec![Change::Deleted(Deleted {
            group: name.to_owned(),
            at,
        })])
        .await?;
    tracing::info!(group = name, "deleted a group");
    Ok(())
}

pub(crate) async fn cancel(inner: &Arc<EngineInner>, names: Vec<EventId>) -> Result<usize> {
    loop {
        inner.check_open()?;
        let room = inner.room();
        let (count, outcome) = {
            let mut locked = inner.advanced();
            let mut seen = HashSet::new();
            let mut pending: Vec<EventId> = Vec::new();
            for name in &names {
                if seen.insert(name) && !locked.fate(name).is_free() {
                    pending.push(name.clone());
                }
            }
            if pending.is_empty() {
                return Ok(0);
            }
            let count = pending.len();
            let changes = vec![Change::Cancelled(Cancelled { names: pending })];
            let batch = batch_of(&changes)?;
            inner.grew(batch.bytes());
            let outcome = inner.submit_locked(&mut locked, batch, changes, Terms::default());
            (count, outcome)
        };
        match outcome {
            Ok(submitted) => {
                submitted.await?;
                inner.locked().advance();
                return Ok(count);
            }
            Err(log::SubmitError::Full(_)) => room.wait().await,
            Err(error) => return Err(inner.refused(error)),
        }
    }
}

pub(crate) fn existing<'a>(state: &'a State, name: &str) -> Result<&'a Group> {
    state
        .groups
        .get(name)
        .ok_or_else(|| Error::Group(GroupError::Unknown(name.to_owned())))
}

/// The dead letters of a group that pass `filter`, the oldest first.
fn find<'a>(
    name: &'a str,
    group: &'a Group,
    filter: &'a DeadLetterFilter,
) -> impl Iterator<Item = Found> + 'a {
    let positions: HashSet<Position> = filter.positions.iter().copied().collect();
    let is_wanted = move |position: u64, item: &Item, dead: &Dead| {
        (positions.is_empty() || positions.contains(&Position::new(position)))
            && (filter.ids.is_empty() || filter.ids.iter().any(|id| **id == *dead.id))
            && filter
                .source
                .as_ref()
                .is_none_or(|source| **source == *dead.source)
            && (filter.types.is_empty() || filter.types.iter().any(|kind| **kind == *dead.kind))
            && filter.key.as_ref().is_none_or(|key| key == item.lane.key())
            && filter
                .reason
                .as_ref()
                .is_none_or(|part| dead.reason.contains(part.as_str()))
            && filter.since.is_none_or(|since| dead.died >= since)
    };
    let wanted = group
        .set_aside()
        .dead_letters()
        .filter(move |(position, item, dead)| is_wanted(*position, item, dead));
    let limit = if filter.limit == 0 {
        usize::MAX
    } else {
        filter.limit
    };
    wanted.take(limit).map(|(position, item, dead)| Found {
        group: name.to_owned(),
        position,
        item: item.clone(),
        dead: dead.clone(),
        parked: group.set_aside().parked_behind(position, &item.lane),
    })
}

/// The dead letters of one group, or of all, that pass `filter`, without their events.
pub(crate) fn find_dead(
    state: &State,
    name: Option<&str>,
    filter: &DeadLetterFilter,
) -> Vec<Found> {
    let groups = state
        .groups
        .iter()
        .filter(|(group, _)| name.is_none_or(|name| name == *group));
    let mut found: Vec<Found> = groups
        .flat_map(|(name, group)| find(name, group, filter))
        .collect();
    if name.is_none() {
        found.sort_by_key(|found| (found.dead.died, found.position));
        if filter.limit > 0 {
            found.truncate(filter.limit);
        }
    }
    found
}

/// Adds their events to dead letters, or why those cannot be read.
pub(crate) async fn dead_letters(view: &log::View, found: Vec<Found>) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::with_capacity(found.len());
    let mut rest = found.into_iter().peekable();
    while rest.peek().is_some() {
        let some: Vec<Found> = rest.by_ref().take(READ_EVENTS_MAX).collect();
        let mut positions: Vec<u64> = some.iter().map(|found| found.position).collect();
        positions.sort_unstable();
        positions.dedup();
        let events = lookup::readable_events(view, positions).await?;
        for found in some {
            let Some(envelope) = events.get(&found.position).cloned() else {
                continue;
            };
            letters.push(DeadLetter {
                group: found.group,
                event: EventId::new(&*found.dead.source, &*found.dead.id),
                topic: found.item.lane.topic().to_owned(),
                kind: (*found.dead.kind).to_owned(),
                key: found.item.lane.key().to_owned(),
                envelope,
                position: Position::new(found.position),
                attempts: found.item.attempts,
                cause: found.dead.cause,
                reason: found.dead.reason.to_string(),
                died: found.dead.died,
                parked: found.parked,
                redriven: found.item.redriven,
            });
        }
    }
    Ok(letters)
}

/// A scheduled event without the event.
pub(crate) struct Waiting {
    name: Arc<EventId>,
    at: Timestamp,
    position: u64,
}

/// The next up to `limit` scheduled events.
pub(crate) fn find_scheduled(state: &State, limit: usize) -> Vec<Waiting> {
    let first = state.schedules.iter().take(limit.min(READ_EVENTS_MAX));
    let waiting = |((at, position), name): (Due, &Arc<EventId>)| Waiting {
        name: name.clone(),
        at,
        position,
    };
    first.map(waiting).collect()
}

/// Adds their events to schedules, or why those cannot be read.
pub(crate) async fn scheduled(view: &log::View, waiting: Vec<Waiting>) -> Result<Vec<Scheduled>> {
    let positions = waiting.iter().map(|it| it.position).collect();
    let mut found = lookup::readable_scheduled(view, positions).await?;
    let scheduled = |it: Waiting| {
        Some(Scheduled {
            envelope: found.remove(&it.position)?,
            name: EventId::clone(&it.name),
            at: it.at,
        })
    };
    Ok(waiting.into_iter().filter_map(scheduled).collect())
}
