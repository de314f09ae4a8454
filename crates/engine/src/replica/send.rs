//! Sending what this process submits to the shared log.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Pause;
use super::outbox::Parcel;
use crate::error::{EngineError, Error, Result};
use crate::ids::{FrameNumber, WriterId};
use crate::runtime::engine_inner::Shared;

/// Starts the task that sends; it holds the engine only while it works.
pub(super) fn start(shared: &Arc<Shared>) {
    shared.keep_task(tokio::spawn(run(Arc::downgrade(shared))));
}

async fn run(shared: Weak<Shared>) {
    let mut pause = Pause::default();
    // Whether what was sent and not read back has to be sent again.
    let mut again = false;
    loop {
        let Some((log, work, wait)) = shared.upgrade().and_then(|shared| {
            let replica = shared.replica.as_ref()?;
            let wait = replica.lease / 4;
            Some((replica.shared_log.clone(), replica.work.clone(), wait))
        }) else {
            return;
        };
        let packed = match shared.upgrade() {
            Some(engine) => engine.pack(again),
            None => return,
        };
        let (writer, parcel) = match packed {
            Ok(Some(packed)) => packed,
            Ok(None) => return,
            Err(error) => return stop(&shared, &error),
        };
        if parcel.messages.is_empty() {
            again = false;
            let _ = tokio::time::timeout(wait, work.notified()).await;
            continue;
        }
        let until = parcel.until;
        let sent = log.append(parcel.messages).await;
        let Some(engine) = shared.upgrade() else {
            return;
        };
        match sent {
            Ok(()) => {
                engine.was_acknowledged(writer, until);
                again = false;
                pause = Pause::default();
            }
            Err(Error::Engine(EngineError::Unavailable { reason, .. })) => {
                tracing::warn!(reason, "cannot write to the shared log, trying again");
                again = true;
                drop(engine);
                pause.wait().await;
            }
            Err(error @ Error::Engine(EngineError::DiskFull(_))) => {
                tracing::warn!(%error, "the server has no room, trying again");
                again = true;
                drop(engine);
                pause.wait().await;
            }
            Err(error) => return stop(&shared, &error),
        }
    }
}

fn stop(shared: &Weak<Shared>, error: &Error) {
    if let Some(engine) = shared.upgrade() {
        engine.stop_for(error);
    }
}

impl Shared {
    /// What to send now, and under which name; `None` when nothing goes out any more.
    fn pack(&self, again: bool) -> Result<Option<(WriterId, Parcel)>> {
        let replica = self.replica()?;
        let mut core = self.core();
        let now = Instant::now();
        let stamp = replica
            .heard()
            .clocks
            .stamp(replica.clock.now().as_micros(), now);
        let Some(outbox) = core.outbox.as_mut().filter(|it| !it.is_halted()) else {
            return Ok(None);
        };
        let mut parcel = outbox.pack(again, stamp)?;
        let is_silent = || replica.heard().wrote.elapsed() >= replica.lease / 4;
        let is_asked = outbox.take_asked();
        if parcel.messages.is_empty() && (is_asked || outbox.needs_acknowledgement() || is_silent())
        {
            parcel = outbox.beat(stamp);
        }
        Ok(Some((outbox.writer, parcel)))
    }

    fn was_acknowledged(&self, writer: WriterId, until: FrameNumber) {
        if let Some(outbox) = &mut self.core().outbox
            && outbox.writer == writer
        {
            outbox.acknowledged(until);
        }
        if let Ok(replica) = self.replica() {
            replica.heard().wrote = Instant::now();
        }
    }
}
