//! Scheduled events are appended when their time comes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ensue_log as log;
use hashbrown::HashMap;

use super::engine_inner::{EngineInner, NotSubmitted};
use super::lookup;
use super::pending_changes::Terms;
use crate::engine::Position;
use crate::error::{EngineError, Error, Outlook, ReadError, Result};
use crate::event::Envelope;
use crate::model::change::Change;
use crate::model::record;
use crate::model::record::{Fired, Firing, Scheduled};

/// How many scheduled events are appended in one batch.
const FIRE_EVENTS_MAX: usize = 256;
/// How long to wait before something is tried again that the disk refused.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

/// Appends scheduled events whose time has come; whether there may be more.
async fn fire(inner: &Arc<EngineInner>) -> Result<bool> {
    let due = {
        let locked = inner.advanced();
        if locked.is_leader() {
            locked.due_schedules(FIRE_EVENTS_MAX)
        } else {
            Vec::new()
        }
    };
    if due.is_empty() {
        return Ok(false);
    }
    let mut events = fetch_due(inner, due).await?;
    let mut outcome = append_due(inner, &events).await;
    if is_final(&outcome) && events.len() > 1 {
        // It may be one of them alone, or all of them together.
        events.truncate(1);
        outcome = append_due(inner, &events).await;
    }
    match (outcome, events.pop()) {
        (Err(error), Some((firing, _))) if error.outlook() == Outlook::Content => {
            set_aside(inner, firing, &error);
            Ok(true)
        }
        (outcome, _) => outcome.map(|()| true),
    }
}

/// Appends scheduled events, and records that they are.
async fn append_due(inner: &Arc<EngineInner>, events: &[(Firing, Envelope)]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut batch = log::Batch::new();
    for (_, envelope) in events {
        record::push_event(&mut batch, envelope)?;
    }
    let fired: Vec<Firing> = events.iter().map(|(firing, _)| firing.clone()).collect();
    let change = Change::Fired(Fired {
        events: fired.clone(),
    });
    change.push_to(&mut batch)?;
    inner.warm().await?;
    let submitted = inner
        .submit(batch, |batch| {
            let mut locked = inner.advanced();
            // Some may have been moved or cancelled meanwhile: what was said first counts.
            if !fired.iter().all(|it| locked.may_fire(it)) {
                return Err(NotSubmitted::Engine(overtaken()));
            }
            let changes = vec![change.clone()];
            let submitted = inner.submit_locked(&mut locked, batch, changes, Terms::default());
            submitted.map_err(NotSubmitted::from)
        })
        .await?;
    let receipt = submitted.await?;
    inner.locked().advance();
    for (index, firing) in fired.iter().enumerate() {
        if receipt.is_duplicate(index) {
            tracing::warn!(
                name = %firing.name,
                "a scheduled event was dropped: another event with its id was appended since it \
                 was scheduled; give what is to happen again a timer instead of an id"
            );
        }
    }
    Ok(())
}

/// The events of `due` in the order in which they are due, which need not be that of their
/// records: the first, and the next that fit. Those that cannot be read are set aside.
async fn fetch_due(inner: &EngineInner, due: Vec<Firing>) -> Result<Vec<(Firing, Envelope)>> {
    if let Ok(mut events) = fetch_scheduled(inner, &due).await {
        let event = |firing: Firing| Some((events.remove(&firing.position)?, firing));
        let some = due.into_iter().map_while(event);
        return Ok(some.map(|(envelope, firing)| (firing, envelope)).collect());
    }
    let positions = due.iter().map(|it| it.position).collect();
    let each = lookup::each_scheduled(inner.view(), positions).await?;
    let (mut events, mut refused) = (Vec::with_capacity(each.len()), None);
    for (firing, (_, event)) in due.into_iter().zip(each) {
        match event {
            Ok(envelope) => events.push((firing, envelope)),
            Err(error) if is_of_record(&error) => set_aside(inner, firing, &error),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        // What the disk does not give at present does not hold up the others.
        Some(error) if events.is_empty() => Err(error),
        _ => Ok(events),
    }
}

fn set_aside(inner: &EngineInner, firing: Firing, error: &Error) {
    tracing::error!(
        name = %firing.name,
        %error,
        "a scheduled event cannot be appended: it is tried again when the log is opened again"
    );
    inner.locked().set_schedule_aside(firing, error);
}

/// The scheduled events in the records of `due`: the first, and others that fit.
async fn fetch_scheduled(
    inner: &EngineInner,
    due: &[Firing],
) -> Result<HashMap<Position, Envelope>> {
    let positions = due.iter().map(|it| it.position).collect();
    let mut found = lookup::scheduled(inner.view(), positions).await?;
    if let Some(first) = due.first()
        && !found
            .iter()
            .any(|(position, _)| *position == first.position)
    {
        // Large ones with older records filled the batch; the one that is due first goes alone.
        found = lookup::scheduled(inner.view(), vec![first.position]).await?;
    }
    let event =
        |(position, scheduled): (Position, Scheduled)| Ok((position, scheduled.envelope()?));
    found.into_iter().map(event).collect()
}

/// Whether these events, or one of them, will not be appended as they are.
fn is_final(outcome: &Result<()>) -> bool {
    let error = outcome.as_ref().err();
    error.is_some_and(|error| error.outlook() == Outlook::Content)
}

/// Whether a record is not what it was, or gone, rather than out of reach.
fn is_of_record(error: &Error) -> bool {
    matches!(error, Error::Read(ReadError::Trimmed { .. })) || lookup::is_damage(error)
}

fn overtaken() -> Error {
    Error::Engine(EngineError::Overtaken {
        what: "scheduled events were moved or cancelled",
    })
}

/// Appends them as they become due. Holds the engine only while it works.
pub(super) async fn keep_firing(inner: Weak<EngineInner>) {
    let Some((changed, clock)) = inner.upgrade().map(|engine| {
        let changed = engine.locked().schedules_changed();
        (changed, engine.settings().clock.clone())
    }) else {
        return;
    };
    loop {
        let Some(engine) = inner.upgrade() else {
            return;
        };
        let outcome = fire(&engine).await;
        let (next, coming) = {
            let mut locked = engine.advanced();
            if outcome.is_ok() {
                locked.schedules_went_through();
            }
            let next = locked.is_leader().then(|| locked.next_schedule()).flatten();
            (next, locked.pending_schedule())
        };
        drop(engine);
        match outcome {
            Ok(true) => continue,
            Ok(false) => {}
            // The leader before has appended them, or they were moved or cancelled.
            Err(Error::Engine(EngineError::Overtaken { .. })) => continue,
            Err(Error::Engine(
                EngineError::Closed | EngineError::Stopped(_) | EngineError::OwnershipLost { .. },
            )) => return,
            Err(_) if inner.upgrade().is_none_or(|engine| engine.is_halted()) => return,
            Err(error) => {
                let Some(engine) = inner.upgrade() else {
                    return;
                };
                let is_known = engine.locked().schedules_refused(&error);
                drop(engine);
                if !is_known {
                    tracing::warn!(%error, "cannot append scheduled events, retrying");
                }
                clock.pause(REFUSED_WAIT).await;
                continue;
            }
        }
        if let Some(coming) = coming {
            // Durable or failed: either way it is no longer on its way.
            let _ = coming.await;
            continue;
        }
        match next {
            Some(at) => tokio::select! {
                () = clock.sleep_until(at) => {}
                () = changed.notified() => {}
            },
            None => changed.notified().await,
        }
    }
}
