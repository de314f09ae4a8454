//! What goes on in the background: schedules whose time comes, checkpoints, retention.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ensue_log as log;
use hashbrown::HashMap;

use crate::error::{EngineError, Error, Outlook, ReadError, Result};
use crate::event::Envelope;
use crate::model::change::Change;
use crate::model::record;
use crate::model::record::{Fired, Firing, Scheduled};
use crate::runtime::engine_inner::{Refusal, Shared};
use crate::runtime::locked_state::{Core, Terms};
use crate::runtime::lookup;
use crate::runtime::lookup::blocking;

/// How many scheduled events are appended in one batch.
const FIRE_EVENTS_MAX: usize = 256;
/// How long to wait before something is tried again that the disk refused.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// Old segments are looked for this often at the least.
const TRIM_WAIT_MAX: Duration = Duration::from_secs(60 * 60);

impl Shared {
    /// Starts the background tasks. They hold the engine only while they work.
    pub(crate) fn start(self: &Arc<Self>) {
        self.keep_task(tokio::spawn(fire_schedules(Arc::downgrade(self))));
        self.keep_task(tokio::spawn(write_checkpoints(Arc::downgrade(self))));
        let shared = self.clone();
        self.keep_task(tokio::spawn(async move {
            if let Err(error) = shared.warm().await {
                tracing::warn!(%error, "could not load the ids of the last events");
            }
        }));
    }

    /// Appends scheduled events whose time has come; whether there may be more.
    async fn fire(self: &Arc<Self>) -> Result<bool> {
        let due = {
            let mut core = self.core();
            core.advance();
            match core.is_leader() {
                true => core.due_schedules(FIRE_EVENTS_MAX),
                false => Vec::new(),
            }
        };
        if due.is_empty() {
            return Ok(false);
        }
        let mut events = self.fetch_due(due).await?;
        let mut outcome = self.append_due(&events).await;
        if is_final(&outcome) && events.len() > 1 {
            // It may be one of them alone, or all of them together.
            events.truncate(1);
            outcome = self.append_due(&events).await;
        }
        match (outcome, events.pop()) {
            (Err(error), Some((firing, _))) if error.outlook() == Outlook::Content => {
                self.set_aside(firing, &error);
                Ok(true)
            }
            (outcome, _) => outcome.map(|()| true),
        }
    }

    /// Appends scheduled events, and records that they are.
    async fn append_due(self: &Arc<Self>, events: &[(Firing, Envelope)]) -> Result<()> {
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
        self.warm().await?;
        let submitted = self
            .submit(batch, |batch| {
                let mut core = self.core();
                core.advance();
                // Some may have been moved or cancelled meanwhile: what was said first counts.
                if !fired.iter().all(|it| core.may_fire(it)) {
                    return Err(Refusal::Engine(overtaken()));
                }
                let changes = vec![change.clone()];
                let submitted = core.submit(&self.log, batch, changes, Terms::default());
                submitted.map_err(Refusal::from)
            })
            .await?;
        let receipt = submitted.await?;
        self.core().advance();
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
    async fn fetch_due(&self, due: Vec<Firing>) -> Result<Vec<(Firing, Envelope)>> {
        if let Ok(mut events) = self.fetch_scheduled(&due).await {
            let event = |firing: Firing| Some((events.remove(&firing.position)?, firing));
            let some = due.into_iter().map_while(event);
            return Ok(some.map(|(envelope, firing)| (firing, envelope)).collect());
        }
        let positions = due.iter().map(|it| it.position).collect();
        let each = lookup::each_scheduled(&self.view, positions).await?;
        let (mut events, mut refused) = (Vec::with_capacity(each.len()), None);
        for (firing, (_, event)) in due.into_iter().zip(each) {
            match event {
                Ok(envelope) => events.push((firing, envelope)),
                Err(error) if is_of_record(&error) => self.set_aside(firing, &error),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            // What the disk does not give at present does not hold up the others.
            Some(error) if events.is_empty() => Err(error),
            _ => Ok(events),
        }
    }

    fn set_aside(&self, firing: Firing, error: &Error) {
        tracing::error!(
            name = %firing.name,
            %error,
            "a scheduled event cannot be appended: it is tried again when the log is opened again"
        );
        let mut core = self.core();
        let Core { state, unfired, .. } = &mut *core;
        unfired.set_aside(firing, error, &state.schedules);
    }

    /// The scheduled events in the records of `due`: the first, and others that fit.
    async fn fetch_scheduled(&self, due: &[Firing]) -> Result<HashMap<u64, Envelope>> {
        let positions = due.iter().map(|it| it.position).collect();
        let mut found = lookup::scheduled(&self.view, positions).await?;
        if let Some(first) = due.first()
            && !found
                .iter()
                .any(|(position, _)| *position == first.position)
        {
            // Large ones with older records filled the batch; the one that is due first goes alone.
            found = lookup::scheduled(&self.view, vec![first.position]).await?;
        }
        let event = |(position, scheduled): (u64, Scheduled)| Ok((position, scheduled.envelope()?));
        found.into_iter().map(event).collect()
    }
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

async fn fire_schedules(shared: Weak<Shared>) {
    let Some((changed, clock)) = shared.upgrade().map(|shared| {
        (
            shared.core().schedules_changed.clone(),
            shared.settings.clock.clone(),
        )
    }) else {
        return;
    };
    loop {
        let Some(engine) = shared.upgrade() else {
            return;
        };
        let outcome = engine.fire().await;
        let (next, coming) = {
            let mut core = engine.core();
            core.advance();
            if outcome.is_ok() {
                core.unfired.went_through();
            }
            (
                core.is_leader().then(|| core.next_schedule()).flatten(),
                core.ahead.any(),
            )
        };
        drop(engine);
        match outcome {
            Ok(true) => continue,
            Ok(false) => {}
            // Whoever led before has appended them, or they were moved or cancelled.
            Err(Error::Engine(EngineError::Overtaken { .. })) => continue,
            Err(
                Error::Engine(EngineError::Closed)
                | Error::Engine(EngineError::Stopped(_))
                | Error::Engine(EngineError::OwnershipLost { .. }),
            ) => return,
            Err(_) if shared.upgrade().is_none_or(|shared| shared.is_halted()) => return,
            Err(error) => {
                let Some(engine) = shared.upgrade() else {
                    return;
                };
                let is_known = engine.core().unfired.refused(&error);
                drop(engine);
                if !is_known {
                    tracing::warn!(%error, "cannot append scheduled events, trying again");
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

async fn write_checkpoints(shared: Weak<Shared>) {
    loop {
        let Some(engine) = shared.upgrade() else {
            return;
        };
        let clock = engine.settings.clock.clone();
        let wait = engine
            .settings
            .retention_age
            .map(|age| (age / 10).min(TRIM_WAIT_MAX));
        // The notification outlives the engine: it must not be kept alive while nothing is due.
        let due = engine.checkpoint.due.clone();
        drop(engine);
        match wait {
            None => due.notified().await,
            Some(wait) => tokio::select! {
                () = due.notified() => {}
                () = clock.sleep(wait) => {}
            },
        }
        let Some(engine) = shared.upgrade() else {
            return;
        };
        match blocking(move || engine.write_checkpoint()).await {
            Ok(()) => {}
            Err(
                Error::Engine(EngineError::Closed)
                | Error::Engine(EngineError::Stopped(_))
                | Error::Engine(EngineError::OwnershipLost { .. }),
            ) => return,
            Err(error) => {
                tracing::warn!(%error, "could not write a checkpoint, trying again");
                clock.pause(REFUSED_WAIT).await;
            }
        }
    }
}
