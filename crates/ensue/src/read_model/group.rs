//! The model as a group of the engine: it handles an event by waiting until the value has it.

use std::sync::Arc;
use std::time::Duration;

use super::Definition;
use super::view::{Place, View};
use crate::app::App;
use crate::engine::OnDead;
use crate::event::Envelope;
use crate::failure::Failure;
use crate::handle::Engine;
use crate::service::{Context, Handler, HandlerOptions};

/// An event waits as long as the value takes: longer than any process runs.
const PATIENCE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How many events the group holds.
const IN_FLIGHT_MAX: usize = 4_096;
/// How long the group may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// The app that has the group.
pub(super) fn app<T: Send + Sync + 'static>(
    definition: &Arc<Definition<T>>,
    engine: &Engine,
    view: &Arc<View<T>>,
) -> App {
    let app = App::new(engine.clone())
        .in_flight_max(IN_FLIGHT_MAX)
        .concurrency(IN_FLIGHT_MAX)
        .shutdown_deadline(FAREWELL);
    definition.folds.iter().fold(app, |app, fold| {
        let (definition, view) = (Arc::clone(definition), Arc::clone(view));
        let name = definition.name.clone();
        let handler = Handler::raw(
            fold.event,
            fold.topics.clone(),
            Some(fold.event),
            // Later events of its key are in the value: they do not wait behind one that was left out.
            HandlerOptions::default()
                .attempts(1)
                .timeout(PATIENCE)
                .on_dead(OnDead::Skip),
            move |envelope: Envelope, context: Context| {
                handle(
                    Arc::clone(&definition),
                    Arc::clone(&view),
                    envelope,
                    context,
                )
            },
        );
        app.handler(&name, handler)
    })
}

async fn handle<T: Send + Sync + 'static>(
    definition: Arc<Definition<T>>,
    view: Arc<View<T>>,
    envelope: Envelope,
    context: Context,
) -> Result<(), Failure> {
    match view.reached(context.position()).await {
        Place::Has(Some(reason)) => {
            let fold = definition.folds.iter().find(|fold| fold.takes(&envelope));
            Err(fold.map_or_else(
                || Failure::reject(reason.clone()),
                |fold| fold.why_left_out(&envelope, reason.clone()),
            ))
        }
        Place::Has(None) | Place::Ahead => Ok(()),
        // The group has not handled it, and shows that until the program is told and stops.
        Place::Ended(_) => std::future::pending().await,
    }
}
