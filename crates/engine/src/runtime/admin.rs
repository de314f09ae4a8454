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
    position: Position,
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
    change: impl Fn(String, Vec<Position>, Timestamp) -> Change,
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

fn dead_positions(
    inner: &EngineInner,
    name: &str,
    filter: &DeadLetterFilter,
) -> Result<Vec<Position>> {
    inner.check_open()?;
    let locked = inner.advanced();
    let letters = select([(name, existing(locked.state(), name)?)], filter);
    let mut positions: Vec<Position> = letters.iter().map(|letter| letter.position).collect();
    positions.sort_unstable();
    Ok(positions)
}

pub(crate) async fn delete_group(inner: &Arc<EngineInner>, name: &str) -> Result<()> {
    inner.check_open()?;
    let _turn = inner.admin_turn().await;
    {
        let locked = inner.locked();
        let (group, processes) = (existing(locked.state(), name)?, locked.state().processes());
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
    state.groups().get(name).ok_or_else(|| {
        let existing = state.groups().keys().map(String::as_str);
        Error::Group(GroupError::unknown(name, existing))
    })
}

/// A dead letter where it is.
struct Letter<'a> {
    name: &'a str,
    group: &'a Group,
    position: Position,
    item: &'a Item,
    dead: &'a Dead,
}

/// The dead letters of these groups that pass `filter`: what died first comes first, and is what
/// the filter's limit leaves.
fn select<'a>(
    groups: impl IntoIterator<Item = (&'a str, &'a Group)>,
    filter: &DeadLetterFilter,
) -> Vec<Letter<'a>> {
    let positions: HashSet<Position> = filter.positions.iter().copied().collect();
    let mut letters = Vec::new();
    for (name, group) in groups {
        let all = group.set_aside().dead_letters();
        letters.extend(all.filter_map(|(position, item, dead)| {
            let is_meant = positions.is_empty() || positions.contains(&position);
            (is_meant && is_wanted(filter, item, dead)).then_some(Letter {
                name,
                group,
                position,
                item,
                dead,
            })
        }));
    }
    letters.sort_by_key(|letter| (letter.dead.died, letter.position));
    if filter.limit > 0 {
        letters.truncate(filter.limit);
    }
    letters
}

/// Whether a dead letter passes `filter`, its position apart.
fn is_wanted(filter: &DeadLetterFilter, item: &Item, dead: &Dead) -> bool {
    let is_or_any =
        |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|it| it == found);
    let among_or_any =
        |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|it| it == found);
    among_or_any(&filter.ids, &dead.id)
        && is_or_any(&filter.source, &dead.source)
        && among_or_any(&filter.types, &dead.kind)
        && is_or_any(&filter.key, item.lane.key())
        && filter
            .reason
            .as_ref()
            .is_none_or(|part| dead.reason.contains(part.as_str()))
        && filter.since.is_none_or(|since| dead.died >= since)
}

/// The dead letters of one group, or of all, that pass `filter`, without their events.
pub(crate) fn find_dead(
    state: &State,
    name: Option<&str>,
    filter: &DeadLetterFilter,
) -> Result<Vec<Found>> {
    let letters = match name {
        Some(name) => select([(name, existing(state, name)?)], filter),
        None => {
            let groups = state.groups().iter();
            select(groups.map(|(name, group)| (name.as_str(), group)), filter)
        }
    };
    let found = letters.iter().map(|letter| Found {
        group: letter.name.to_owned(),
        position: letter.position,
        item: letter.item.clone(),
        dead: letter.dead.clone(),
        parked: letter
            .group
            .set_aside()
            .parked_behind(letter.position, &letter.item.lane),
    });
    Ok(found.collect())
}

/// Adds their events to dead letters, or why those cannot be read.
pub(crate) async fn dead_letters(view: &log::View, found: Vec<Found>) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::with_capacity(found.len());
    let mut rest = found.into_iter().peekable();
    while rest.peek().is_some() {
        let some: Vec<Found> = rest.by_ref().take(READ_EVENTS_MAX).collect();
        let mut positions: Vec<Position> = some.iter().map(|found| found.position).collect();
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
                event_type: (*found.dead.kind).to_owned(),
                key: found.item.lane.key().to_owned(),
                envelope,
                position: found.position,
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
    position: Position,
}

/// The next up to `limit` scheduled events.
pub(crate) fn find_scheduled(state: &State, limit: usize) -> Vec<Waiting> {
    let first = state.schedules().iter().take(limit.min(READ_EVENTS_MAX));
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
