//! How one service wants to be run.

use std::fmt;

use super::middleware::{Layer, Middleware};
use crate::engine::Start;

/// How one service wants to be run, where that differs from the rest of its app.
///
/// Said in `#[service(…)]`, or by the app, which has the last word
/// ([`App::service_options`](crate::App::service_options)). What neither says is the app's default.
///
/// ```
/// use ensue::prelude::*;
/// use ensue::{ServiceOptions, Start};
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String }
///
/// struct Letters;
///
/// /// Writes only to those who pay from now on: a new group starts at the earliest event, and
/// /// would write to every customer who ever paid.
/// #[service(start = "latest", concurrency = 4)]
/// impl Letters {
///     #[on]
///     async fn thank(&self, paid: OrderPaid) {
///         println!("thank you for {}", paid.order_id);
///     }
/// }
///
/// # fn app(engine: Engine) {
/// App::new(engine)
///     .service(Letters)
///     .on("audit", async |paid: OrderPaid| println!("{} was paid", paid.order_id))
///     .service_options("audit", ServiceOptions::new().start_at(Start::Earliest).workers(1));
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "options do nothing until an app has them"]
pub struct ServiceOptions {
    pub(crate) start: Option<Start>,
    pub(crate) workers: Option<usize>,
    pub(crate) in_flight_max: Option<usize>,
    pub(crate) concurrency: Option<usize>,
    /// Within those of the app, the outermost first.
    pub(crate) layers: Vec<Layer>,
}

impl ServiceOptions {
    /// What the app does with all of its services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the group starts if it does not exist yet. A group that exists goes on where it is.
    pub fn start_at(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// How many tasks the service spreads its keys over, 1 to [`WORKERS_MAX`](crate::WORKERS_MAX).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How many events the service holds unsettled, 1 to [`IN_FLIGHT_MAX`](crate::IN_FLIGHT_MAX).
    pub fn in_flight_max(mut self, events: usize) -> Self {
        self.in_flight_max = Some(events);
        self
    }

    /// How many handlers of the service may wait for something at the same time, 1 to
    /// [`CONCURRENCY_MAX`](crate::CONCURRENCY_MAX).
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = Some(handlers);
        self
    }

    /// Adds a layer around the handlers of the service, within those of the app; the first one is
    /// the outermost.
    pub fn layer(mut self, layer: impl Middleware) -> Self {
        self.layers.push(Layer::new(layer));
        self
    }

    /// These options, and `more` over them: what it says counts, its layers are the inner ones.
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.layers.extend(more.layers);
        Self {
            start: more.start.or(self.start),
            workers: more.workers.or(self.workers),
            in_flight_max: more.in_flight_max.or(self.in_flight_max),
            concurrency: more.concurrency.or(self.concurrency),
            layers: self.layers,
        }
    }
}

impl fmt::Debug for ServiceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceOptions")
            .field("start", &self.start)
            .field("workers", &self.workers)
            .field("in_flight_max", &self.in_flight_max)
            .field("concurrency", &self.concurrency)
            .field("layers", &self.layers.len())
            .finish()
    }
}
