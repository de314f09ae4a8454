//! The projection as a group of the engine: it handles an event by waiting until the database has it.
//!
//! So the group's position is never before the database's: retention keeps what the database lacks, the lag in
//! `ensue status` is the projection's, and whoever waits until the group has handled an event finds it in the
//! tables. What was put aside is tried here, alone: retries, dead letters and redriving are those of any group.

use std::sync::Arc;
use std::time::Duration;

use ensue::engine::Recorded;
use ensue::{Context, Envelope, Failure, Handler, HandlerOptions};
use tokio::sync::mpsc;

use super::definition::Definition;
use super::lane::{Ended, Lane, Place};
use super::position::lane_of;
use crate::database::Database;

/// An event waits as long as the database takes: longer than any process runs.
const PATIENCE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The lanes of a projection.
pub(super) type Lanes<P, DB> = Arc<[Arc<Lane<P, DB>>]>;

/// The handlers of the group. What ends the owner goes to `ended`.
pub(super) fn handlers<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    lanes: &Lanes<P, DB>,
    ended: &mpsc::Sender<Ended>,
) -> Vec<Handler> {
    let settings = &definition.settings;
    let options = HandlerOptions::default()
        .attempts(settings.attempts)
        .backoff(settings.backoff.min, settings.backoff.max)
        .timeout(PATIENCE);
    let handler = |route: &super::handle::Route<P, DB>| {
        let (lanes, ended) = (Arc::clone(lanes), ended.clone());
        Handler::raw(
            route.event,
            route.topics.clone(),
            Some(route.event),
            options.clone(),
            move |envelope: Envelope, context: Context| {
                handle(Arc::clone(&lanes), ended.clone(), envelope, context)
            },
        )
    };
    definition.routes.iter().map(handler).collect()
}

async fn handle<P: Send + Sync + 'static, DB: Database>(
    lanes: Lanes<P, DB>,
    ended: mpsc::Sender<Ended>,
    envelope: Envelope,
    context: Context,
) -> Result<(), Failure> {
    let Some(lane) = lanes.get(lane_of(envelope.key(), lanes.len())) else {
        return Ok(()); // Not reached: there is at least one.
    };
    let event = Recorded {
        position: context.position(),
        appended: envelope.time(),
        envelope,
    };
    match lane.reached(&event).await {
        Place::Aside(_) => match lane.apply_aside(&event).await {
            Ok(applied) => applied,
            Err(why) => {
                let _ = ended.try_send(why);
                // The group is left: nothing becomes of this event here.
                std::future::pending().await
            }
        },
        _ => Ok(()),
    }
}
