//! A process's link to the shared log: the server, what was heard there, what is on its way there.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::heard::Heard;
use super::outbox::Outbox;
use crate::error::{EngineError, Error};
use crate::ids::WriterId;
use crate::model::processes::Process;
use crate::model::refusal::Refusal;
use crate::runtime::upstream::Upstream;
use crate::runtime::write_sink::WriteSink;
use crate::shared_log::{Server, SharedLog};
use crate::time::Clock;

/// What a replica has beside the engine that works on it.
#[derive(Debug)]
pub(crate) struct Link {
    shared_log: Arc<dyn SharedLog>,
    server: Server,
    lease: Duration,
    /// This process's clock as it is; the engine goes by one that is corrected.
    clock: Clock,
    /// The log's time when the frame that is being folded is in it: the time of its records.
    time: Arc<AtomicI64>,
    heard: Mutex<Heard>,
    outbox: Outbox,
}

impl Link {
    pub(super) fn new(
        (server, shared_log): (Server, Arc<dyn SharedLog>),
        lease: Duration,
        clock: Clock,
        heard: Heard,
    ) -> Self {
        let outbox = Outbox::new(lease, shared_log.message_bytes_max());
        Self {
            shared_log,
            server,
            lease,
            clock,
            time: Arc::new(AtomicI64::new(0)),
            heard: Mutex::new(heard),
            outbox,
        }
    }

    pub(super) fn shared_log(&self) -> &Arc<dyn SharedLog> {
        &self.shared_log
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// How long a silent process keeps its keys.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// This process's own clock, not corrected.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time that records have in the copy.
    pub(super) fn time(&self) -> Arc<AtomicI64> {
        self.time.clone()
    }

    /// The log's time is this from here on.
    pub(super) fn set_time(&self, time: i64) {
        self.time.store(time, Ordering::Release);
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process was heard of after `since`.
    pub(crate) fn has_heard(&self, writer: WriterId, since: Instant) -> bool {
        self.heard().has_heard(writer, since)
    }
}

impl Upstream for Link {
    fn sink(&self) -> &dyn WriteSink {
        &self.outbox
    }

    fn is_durable(&self) -> bool {
        self.shared_log.about().is_durable
    }

    fn trouble(&self) -> Option<String> {
        self.heard().trouble()
    }

    fn is_silent(&self, process: &Process, now: i64) -> bool {
        self.heard().is_silent(process, now)
    }

    fn halt(&self, why: Refusal) {
        self.outbox.lock().halt(why);
    }

    fn halted(&self) -> Option<Error> {
        let outbox = self.outbox.lock();
        outbox.halted().cloned().map(Error::from)
    }

    fn until_halted(&self) -> BoxFuture<'_, Error> {
        let mut drained = self.outbox.drained();
        Box::pin(async move {
            loop {
                // Before looking, so that a halt that comes in between is seen.
                drained.mark_unchanged();
                if let Some(why) = self.halted() {
                    return why;
                }
                if drained.changed().await.is_err() {
                    return EngineError::Closed.into();
                }
            }
        })
    }

    fn hang_up(&self) -> BoxFuture<'_, ()> {
        self.shared_log.close()
    }
}
