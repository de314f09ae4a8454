//! What an engine asks of the shared log that its own log is the replica of. `replica` implements it
//! and stands above the runtime, which knows neither servers nor frames.

use std::fmt;

use futures_util::future::BoxFuture;

use super::write_sink::WriteSink;
use crate::error::Error;
use crate::model::processes::Process;
use crate::model::refusal::Refusal;

/// The shared log behind an engine.
pub(crate) trait Upstream: fmt::Debug + Send + Sync {
    /// Where batches go instead of this process's own log. What is submitted under the engine's lock
    /// comes back in the same order.
    fn sink(&self) -> &dyn WriteSink;

    /// Whether what the server acknowledges survives a power cut.
    fn is_durable(&self) -> bool;

    /// Why the server cannot be reached, if it cannot.
    fn trouble(&self) -> Option<String>;

    /// Whether a process has sent nothing for its lease, as far as is known here at `now`. Others may
    /// not have fenced it yet: for people, not for the fold.
    fn is_silent(&self, process: &Process, now: i64) -> bool;

    /// Takes nothing any more, for good: whatever waits is refused with `why`.
    fn halt(&self, why: Refusal);

    /// Why nothing is taken any more, if that is so.
    fn halted(&self) -> Option<Error>;

    /// Completes when nothing is taken any more, with the reason.
    fn until_halted(&self) -> BoxFuture<'_, Error>;

    /// Closes the connections to the server.
    fn hang_up(&self) -> BoxFuture<'_, ()>;
}
