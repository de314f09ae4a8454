//! Events for a process that does not run: it may be about to begin.
//!
//! What begins a process and what it takes come from different topics, between which there is no order. So
//! an event that finds no process is looked at again, a little later, before it is dropped.

use std::time::Duration;

use crate::effect::Effects;
use crate::error::Result;
use crate::event::Envelope;
use crate::outgoing::Outgoing;
use crate::service::Context;

/// How often the event was looked at.
const LOOKS: &str = "sagalooks";
/// How long after each look the next one comes; after the last one there is none.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Brings the event at hand again, unless that has been done often enough.
pub(super) fn look_again(context: &Context) -> Result<Effects> {
    let event = context.envelope();
    let looks = event.extension(LOOKS).and_then(|it| it.parse().ok());
    let looks: usize = looks.unwrap_or(0);
    let pause = PAUSES.get(looks).filter(|_| !context.is_held_back());
    let Some(pause) = pause else {
        tracing::debug!(
            saga = context.group(),
            key = context.key(),
            event = event.event_type(),
            "an event for a process that does not run is dropped"
        );
        return Ok(Effects::none());
    };
    let again = Envelope::builder(event.topic(), event.event_type())
        .key(event.key())
        .version(event.version())
        .payload(event.codec()?, event.payload().to_vec())
        .extension(LOOKS, (looks + 1).to_string());
    Ok(Effects::none().schedule(*pause, Outgoing::raw(again)))
}
