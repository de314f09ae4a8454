//! What follows from an event, as its handler said it: checked and added to what is committed.
//!
//! What no commit could ever hold is refused here, before it joins others: it is its own event's
//! failure, before a later event of the key has seen what it would have written.

use std::sync::Arc;

use super::Dispatch;
use super::outcome::{Outcomes, Subject, cell_bytes};
use super::overlay::Overlay;
use crate::effect::{Effects, Said};
use crate::engine::{
    Append, Delivery, EFFECTS_BYTES_MAX, EFFECTS_MAX, EFFECTS_NAMES_BYTES_MAX,
    EFFECTS_STATE_BYTES_MAX, Position, Run, StateWrite,
};
use crate::error::{Error, LimitError};
use crate::event::{Envelope, InvalidEvent};
use crate::failure::Failure;
use crate::metrics::GroupCounters;
use crate::outgoing::OutgoingParts;
use crate::publisher::{Cause, complete, source_of};
use crate::request;

/// Turns effects into parts of a commit.
pub(super) struct Follow {
    dispatch: Arc<Dispatch>,
    source: String,
    overlay: Arc<Overlay>,
}

impl Follow {
    pub(super) fn new(dispatch: Arc<Dispatch>, overlay: Arc<Overlay>) -> Self {
        Self {
            source: source_of(&dispatch.group),
            dispatch,
            overlay,
        }
    }

    /// Adds what follows from an event: all of it or, if a part cannot be stored, nothing.
    pub(super) fn add(
        &self,
        delivery: &Delivery,
        handler: &str,
        effects: Effects,
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        if effects.is_empty() && effects.failure.is_none() {
            return Ok(());
        }
        let added = self.add_all(delivery, handler, effects, outcomes);
        match added {
            Ok(published) => {
                GroupCounters::add(&self.dispatch.counters.published, published);
                Ok(())
            }
            Err(failure) => {
                self.overlay.forget(outcomes.undo());
                Err(failure)
            }
        }
    }

    /// Adds what follows; gives how many events.
    fn add_all(
        &self,
        delivery: &Delivery,
        handler: &str,
        mut effects: Effects,
        outcomes: &mut Outcomes,
    ) -> Result<usize, Failure> {
        let (cause, run) = (&delivery.envelope, delivery.run);
        // A layer may have put them together by hand.
        if let Some(failure) = effects.failure {
            return Err(failure);
        }
        if run.holds_back {
            // Handled again after a reset: only its state counts.
            GroupCounters::add(&self.dispatch.counters.held_back, effects.said.len());
            effects.said.clear();
        }
        let refused = |error| refused(handler, error);
        let count = effects.said.len();
        within("the number of effects", count, "EFFECTS_MAX", EFFECTS_MAX).map_err(refused)?;
        let (mut index, mut published, mut names) = (0, 0, 0);
        for said in effects.said {
            match said {
                Said::Cancel(name) => {
                    let name = name.resolve(&self.source);
                    names += name.source().len() + name.id().len();
                    outcomes.cancel(name);
                }
                Said::Publish(outgoing) => {
                    let append =
                        self.publish((cause, run), handler, outgoing.into_parts(), index)?;
                    index += 1;
                    if let Some(append) = append {
                        published += 1;
                        outcomes.append(append);
                    }
                }
            }
            check_size(outcomes.open_bytes(), names).map_err(refused)?;
        }
        let writes = effects.state.into_iter().map(|change| {
            self.dispatch.uses_state(cause, &change.name);
            StateWrite {
                topic: cause.topic().to_owned(),
                key: cause.key().to_owned(),
                name: change.name.to_string(),
                value: change.value,
            }
        });
        let writes: Vec<StateWrite> = writes.collect();
        check_state(writes.iter().map(cell_bytes).sum()).map_err(refused)?;
        for write in writes {
            let version = self.overlay.show(&write);
            outcomes.write(write, version);
        }
        Ok(published)
    }

    /// An event that follows; `None` for a reply without a requester.
    fn publish(
        &self,
        (cause, run): (&Envelope, Run),
        handler: &str,
        mut parts: OutgoingParts,
        index: usize,
    ) -> Result<Option<Append>, Failure> {
        if parts.is_reply {
            let Some(topic) = request::reply_topic(cause) else {
                return Ok(None);
            };
            parts.builder = parts
                .builder
                .map(|reply| request::answer(reply, cause, topic));
        }
        let append = self.append(cause, run, parts, index);
        append
            .map(Some)
            .map_err(|error| refused(handler, error.into()))
    }

    /// Adds the reply that tells a requester that its request failed; whether the event is a
    /// request whose requester will know, or has known since an earlier run.
    pub(super) fn tell_requester(
        &self,
        request: &Envelope,
        reason: &str,
        run: Run,
        outcomes: &mut Outcomes,
    ) -> bool {
        let Some(reply) = request::failure_reply(request, reason) else {
            return false;
        };
        if run.holds_back {
            return true;
        }
        match self.append(request, run, OutgoingParts::reply(reply), usize::MAX) {
            Ok(append) => outcomes.append(append),
            Err(error) => {
                tracing::warn!(%error, "cannot tell the requester");
                return false;
            }
        }
        true
    }

    /// Answers a request with a refusal, which settles it; whether its requester can be told.
    pub(super) fn turn_down(
        &self,
        (request, position): (&Envelope, Position),
        subject: Subject,
        (reason, run): (&str, Run),
        outcomes: &mut Outcomes,
    ) -> bool {
        if !self.tell_requester(request, reason, run, outcomes) {
            return false;
        }
        tracing::debug!(
            group = %self.dispatch.group, event = request.event_type(), id = request.id(), reason,
            "refused a request"
        );
        GroupCounters::add(&self.dispatch.counters.turned_down, 1);
        outcomes.settle(subject, position);
        true
    }

    /// Completes an effect: its id derives from its cause and the run, so that a redelivered cause
    /// has the same effects and dedup drops them, and one that is handled again after a reset has
    /// not.
    fn append(
        &self,
        cause: &Envelope,
        run: Run,
        parts: OutgoingParts,
        index: usize,
    ) -> Result<Append, InvalidEvent> {
        let is_named = parts.builder.as_ref().is_ok_and(|effect| effect.has_id());
        let effect = || cause.effect_id(&self.dispatch.group, run.number, index);
        let cause = Cause {
            effect: (!is_named).then(effect),
            ..Cause::of(cause)
        };
        let clock = self.dispatch.engine.clock();
        complete(parts, &self.source, clock, Some(&cause))
    }
}

/// The failure of an event whose outcome cannot be committed.
pub(super) fn refused(handler: &str, error: Error) -> Failure {
    Failure::refused(format!(
        "what `{handler}` returned cannot be committed: {error}"
    ))
}

fn check_size(bytes: usize, names: usize) -> Result<(), Error> {
    within(
        "the size of the events that follow in bytes",
        bytes,
        "EFFECTS_BYTES_MAX",
        EFFECTS_BYTES_MAX,
    )?;
    within(
        "the size of the names to cancel in bytes",
        names,
        "EFFECTS_NAMES_BYTES_MAX",
        EFFECTS_NAMES_BYTES_MAX,
    )
}

fn check_state(bytes: usize) -> Result<(), Error> {
    within(
        "the size of the state that is set in bytes",
        bytes,
        "EFFECTS_STATE_BYTES_MAX",
        EFFECTS_STATE_BYTES_MAX,
    )
}

fn within(what: &str, value: usize, limit: &'static str, max: usize) -> Result<(), Error> {
    if value <= max {
        return Ok(());
    }
    Err(Error::Limit(LimitError {
        what: what.to_owned(),
        value: value as u64,
        limit,
        max: max as u64,
        advice: "return less from one event: spread it over several, or keep what is large \
                 elsewhere and its address here",
    }))
}
