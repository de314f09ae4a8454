//! Reading single records by position, from memory where they still are.

use ensue_log as log;
use hashbrown::HashMap;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::engine::Position;
use crate::error::{EngineError, Error, Outlook, Result};
use crate::event::Envelope;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::change::Change;
use crate::model::record;
use crate::model::record::Scheduled;

/// How much a read of single records asks the disk for at once.
const READ_BYTES: usize = 64 * 1024;
/// How many bytes of events are fetched in one go; one is always fetched.
const FETCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The events at `positions`, or as many of the first of them as fit into memory.
pub(crate) async fn events(
    view: &log::View,
    positions: Vec<Position>,
) -> Result<Vec<(Position, Envelope)>> {
    on_disk_or_here(view, positions, |view, positions| {
        let (mut events, mut bytes) = (Vec::with_capacity(positions.len()), 0);
        each(view, positions, |entry| {
            let envelope = record::envelope_of(entry)?;
            bytes += envelope.content().len();
            // What is kept for long must not keep a whole chunk.
            events.push((from_log(entry.position), envelope.detached()));
            Ok(bytes < FETCH_BYTES_MAX)
        })?;
        Ok(events)
    })
    .await
}

/// The records at `positions`, which schedule events, or as many of the first of them as fit.
pub(crate) async fn scheduled(
    view: &log::View,
    positions: Vec<Position>,
) -> Result<Vec<(Position, Scheduled)>> {
    on_disk_or_here(view, positions, |view, positions| {
        let (mut events, mut bytes) = (Vec::with_capacity(positions.len()), 0);
        each(view, positions, |entry| {
            let position = from_log(entry.position);
            events.push((position, scheduled_in(entry)?));
            bytes += entry.body.len();
            Ok(bytes < FETCH_BYTES_MAX)
        })?;
        Ok(events)
    })
    .await
}

/// Events by the position of their records, or why they cannot be read.
pub(crate) type Readable = HashMap<Position, Result<Envelope, String>>;

/// The events at `positions`, or why they cannot be read.
pub(crate) async fn readable_events(
    view: &log::View,
    mut positions: Vec<Position>,
) -> Result<Readable> {
    let mut found = Readable::new();
    while !positions.is_empty() {
        let some = match events(view, positions.clone()).await {
            Ok(some) => some
                .into_iter()
                .map(|(at, event)| (at, Ok(event)))
                .collect(),
            // It is not said of which, and the others may be good.
            Err(error) if is_damage(&error) => {
                each_alone(view, positions.clone(), event_at).await?
            }
            Err(error) => return Err(error),
        };
        note(&mut found, some)?;
        positions.retain(|at| !found.contains_key(at));
    }
    Ok(found)
}

/// What the records at `positions` schedule, or why that cannot be read.
pub(crate) async fn readable_scheduled(
    view: &log::View,
    mut positions: Vec<Position>,
) -> Result<Readable> {
    let mut found = Readable::new();
    while !positions.is_empty() {
        let some = match scheduled(view, positions.clone()).await {
            Ok(some) => {
                let event = |(at, scheduled): (Position, Scheduled)| (at, scheduled.envelope());
                some.into_iter().map(event).collect()
            }
            // It is not said of which, and the others may be good.
            Err(error) if is_damage(&error) => each_scheduled(view, positions.clone()).await?,
            Err(error) => return Err(error),
        };
        note(&mut found, some)?;
        positions.retain(|at| !found.contains_key(at));
    }
    Ok(found)
}

/// Notes what was read, and of damage why.
fn note(found: &mut Readable, some: Vec<(Position, Result<Envelope>)>) -> Result<()> {
    for (at, event) in some {
        let readable = match event {
            Ok(event) => Ok(event),
            Err(error) if is_damage(&error) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        found.insert(at, readable);
    }
    Ok(())
}

/// Whether a record is not what it was, rather than out of reach.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Engine(EngineError::Corrupt(_))) || error.outlook() == Outlook::Content
}

/// Up to about [`FETCH_BYTES_MAX`] of the events that the records at `positions` schedule, each with
/// its outcome: those that cannot be read do not matter to the others.
pub(crate) async fn each_scheduled(
    view: &log::View,
    positions: Vec<Position>,
) -> Result<Vec<(Position, Result<Envelope>)>> {
    each_alone(view, positions, scheduled_at).await
}

/// Reads the records at `positions` one by one, up to about [`FETCH_BYTES_MAX`] of them.
async fn each_alone(
    view: &log::View,
    positions: Vec<Position>,
    read: fn(&log::View, Position) -> Result<Envelope>,
) -> Result<Vec<(Position, Result<Envelope>)>> {
    let view = view.clone();
    blocking(move || {
        let (mut events, mut bytes) = (Vec::with_capacity(positions.len()), 0);
        for position in positions {
            let event = read(&view, position);
            bytes += event.as_ref().map_or(0, |event| event.content().len());
            events.push((position, event));
            if bytes >= FETCH_BYTES_MAX {
                break;
            }
        }
        Ok(events)
    })
    .await
}

/// The event at `position`. Blocks.
fn event_at(view: &log::View, position: Position) -> Result<Envelope> {
    let mut event = None;
    each(view, &[position], |entry| {
        event = Some(record::envelope_of(entry)?.detached());
        Ok(false)
    })?;
    event.ok_or_else(|| {
        Error::Engine(EngineError::Corrupt(format!(
            "there is no event at position {position}"
        )))
    })
}

/// The event that the record at `position` schedules. Blocks.
pub(crate) fn scheduled_at(view: &log::View, position: Position) -> Result<Envelope> {
    let mut event = None;
    each(view, &[position], |entry| {
        event = Some(scheduled_in(entry)?.envelope()?);
        Ok(false)
    })?;
    event.ok_or_else(|| schedules_none(position))
}

fn scheduled_in(entry: &log::Entry<'_>) -> Result<Scheduled> {
    let position = from_log(entry.position);
    match Change::read(entry.kind, position, entry.body)? {
        Some(Change::Scheduled(scheduled)) => Ok(scheduled),
        _ => Err(schedules_none(position)),
    }
}

fn schedules_none(position: Position) -> Error {
    Error::Engine(EngineError::Corrupt(format!(
        "the record at position {position} schedules no event"
    )))
}

/// Runs `read` here when everything is in memory, else where it may block.
async fn on_disk_or_here<T: Send + 'static>(
    view: &log::View,
    mut positions: Vec<Position>,
    read: impl FnOnce(&log::View, &[Position]) -> Result<T> + Send + 'static,
) -> Result<T> {
    positions.sort_unstable();
    let oldest = positions.first().map(|oldest| to_log(*oldest));
    if oldest.is_none_or(|oldest| view.tail(oldest).is_some()) {
        return read(view, &positions);
    }
    let view = view.clone();
    blocking(move || read(&view, &positions)).await
}

/// Calls `take` with the record at each of `positions`, which are ascending, while it says so.
fn each(
    view: &log::View,
    positions: &[Position],
    mut take: impl FnMut(&log::Entry<'_>) -> Result<bool>,
) -> Result<()> {
    let mut wanted = positions.iter().copied().peekable();
    while let Some(first) = wanted.peek().copied() {
        let from = to_log(first);
        let chunk = match view.tail(from) {
            Some(chunk) => chunk,
            None => view.read(from, READ_BYTES).map_err(log_error::of_log)?,
        };
        for entry in chunk.iter() {
            let position = from_log(entry.position);
            while wanted.next_if(|wanted| *wanted < position).is_some() {}
            if wanted.next_if_eq(&position).is_some() && !take(&entry)? {
                return Ok(());
            }
            if wanted
                .peek()
                .is_none_or(|wanted| *wanted >= from_log(chunk.next()))
            {
                break;
            }
        }
        if wanted.next_if_eq(&first).is_some() {
            return Err(Error::Engine(EngineError::Corrupt(format!(
                "there is no record at position {first}"
            ))));
        }
    }
    Ok(())
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and everything on it.
            Err(_) => Err(Error::Engine(EngineError::Closed)),
        },
    }
}

/// Runs `work`, which may block but hardly ever does for long: waking a thread for it would take
/// more time. Where the runtime has other threads they take over what this one would have done.
pub(crate) async fn briefly<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => blocking(work).await,
    }
}
