//! The app: wires services to an engine; decides nothing.

mod describe;
mod running;
mod settings;
mod signals;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::describe::{Description, HandlerDescription, ServiceDescription};
pub use self::running::Running;
use self::settings::Settings;
pub use self::settings::{IN_FLIGHT_MAX, WORKERS_MAX};
use self::signals::Signals;
pub use self::signals::asked_to_stop;
use crate::dispatch::{Dispatch, Order, Routes, StateScope};
use crate::effect::IntoEffects;
use crate::engine::Start;
use crate::error::{AppError, Error, Result};
use crate::event::Event;
use crate::handle::Engine;
use crate::metrics::Metrics;
use crate::publisher::check_source_of;
use crate::saga::Saga;
use crate::service::middleware::{Layer, Middleware};
use crate::service::{Context, Handler, HandlerOptions, Service, ServiceOptions};
use crate::state::State;

/// Services on an engine.
///
/// ```
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
///
/// struct Greeter;
///
/// #[service]
/// impl Greeter {
///     #[on]
///     async fn greet(&self, order: OrderCreated) {
///         println!("hello, {}", order.order_id);
///     }
/// }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let mut running = App::new(engine.clone()).service(Greeter).start().await?;
/// engine.publish(OrderCreated { order_id: "o-1".into() }).await?;
/// running.settled().await?; // everything is handled
/// running.stop().await?;
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an app does nothing until it is started"]
pub struct App {
    engine: Engine,
    services: BTreeMap<String, Registered>,
    published: Vec<&'static str>,
    layers: Vec<Layer>,
    metrics: Metrics,
    settings: Settings,
}

/// A service that the app runs.
#[derive(Default)]
struct Registered {
    handlers: Vec<Handler>,
    options: ServiceOptions,
    /// How many services were added under this name; closures count none.
    services: usize,
}

impl App {
    /// An app without services.
    pub fn new(engine: impl Into<Engine>) -> Self {
        Self {
            engine: engine.into(),
            services: BTreeMap::new(),
            published: Vec::new(),
            layers: Vec::new(),
            metrics: Metrics::default(),
            settings: Settings::default(),
        }
    }

    /// Adds a service: one consumer group, named [`Service::NAME`]. An app has one service of a name;
    /// [`App::on`] and [`App::handler`] add to it.
    pub fn service<S: Service>(self, service: S) -> Self {
        self.shared_service(Arc::new(service))
    }

    /// Adds a service that others hold too.
    pub fn shared_service<S: Service>(mut self, service: Arc<S>) -> Self {
        let registered = self.registered(S::NAME);
        registered.services += 1;
        registered.handlers.extend(service.handlers());
        // What the app says has the last word, whichever is said first.
        registered.options = S::options().and(std::mem::take(&mut registered.options));
        self
    }

    /// Adds a saga: a service of its own.
    pub fn saga<S: State>(mut self, saga: Saga<S>) -> Self {
        let (name, handlers) = saga.into_service();
        let registered = self.registered(&name);
        registered.services += 1;
        registered.handlers.extend(handlers);
        self
    }

    /// Adds a closure that handles events of type `E` in the group `group`: the smallest service.
    pub fn on<E, F, Fut, R>(self, group: &str, handle: F) -> Self
    where
        E: Event,
        F: Fn(E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoEffects,
    {
        self.on_with(group, HandlerOptions::default(), move |event, _| {
            handle(event)
        })
    }

    /// [`App::on`] with options and the context.
    pub fn on_with<E, F, Fut, R>(self, group: &str, options: HandlerOptions, handle: F) -> Self
    where
        E: Event,
        F: Fn(E, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoEffects,
    {
        self.handler(group, Handler::new(E::TYPE, options, handle))
    }

    /// Adds a handler to the group `group`.
    pub fn handler(mut self, group: &str, handler: Handler) -> Self {
        self.registered(group).handlers.push(handler);
        self
    }

    fn registered(&mut self, group: &str) -> &mut Registered {
        self.services.entry(group.to_owned()).or_default()
    }

    /// How the service `group` is to be run, where that differs from the rest of the app, and from
    /// what its `#[service]` says. What is said again replaces what was said before; layers are
    /// added.
    pub fn service_options(mut self, group: &str, options: ServiceOptions) -> Self {
        let registered = self.registered(group);
        registered.options = std::mem::take(&mut registered.options).and(options);
        self
    }

    /// Declares that the program publishes events of type `E` from outside its handlers, so that
    /// [`App::describe`] can tell whether a service handles them.
    pub fn publishes<E: Event>(mut self) -> Self {
        self.published.push(E::TYPE);
        self
    }

    /// Adds a layer around every handler; the first one is the outermost. For the handlers of one
    /// service there is [`ServiceOptions::layer`].
    pub fn layer(mut self, layer: impl Middleware) -> Self {
        self.layers.push(Layer::new(layer));
        self
    }

    /// Where groups start that do not exist yet. Default: at the *earliest* event, so that a service
    /// that is added to a running system handles all of its history. That is right for what builds
    /// a view; what reaches people (letters, payments) may want `#[service(start = "latest")]`.
    pub fn start_at(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// How many tasks each service spreads its keys over, 1 to [`WORKERS_MAX`]. Default: one per
    /// core.
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers;
        self
    }

    /// How many events each service holds unsettled, 1 to [`IN_FLIGHT_MAX`]. Default: 8,192.
    pub fn in_flight_max(mut self, events: usize) -> Self {
        self.settings.in_flight_max = events;
        self
    }

    /// How many handlers of each service may wait for something at the same time, 1 to
    /// [`CONCURRENCY_MAX`](crate::CONCURRENCY_MAX). Default: 256.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// How long stopping may take, with everything. Handlers under way are let go of a little
    /// earlier (a quarter of it, at most 2 s), so that leaving the groups and closing the engine
    /// have their time. Default: 30 s.
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.settings.shutdown = deadline;
        self
    }

    /// The seed of everything random, for a run that repeats another. Default: a random one.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Counts in `metrics`, in which other apps of the program count, too: one exposition shows them
    /// all.
    pub fn count_in(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The engine that the app runs on, for what services publish or decide outside of what they return.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The app's counters, live; keep them beside the running app.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// What this app is made of: services, handlers, topics, events without a handler, and the
    /// guarantees that are needed and given. Needs no broker to be up.
    pub fn describe(&self) -> Description {
        let services = self.services.iter().map(|(group, service)| {
            let start = self.settings.clone().for_service(&service.options).start;
            (group.as_str(), start, service.handlers.as_slice())
        });
        Description::of(&self.engine, &services.collect::<Vec<_>>(), &self.published)
    }

    /// Starts every service and returns.
    ///
    /// # Errors
    /// [`AppError`] when services or settings contradict themselves or a handler needs what the
    /// engine does not promise, and what joining reports. Nothing runs then.
    pub async fn start(self) -> Result<Running> {
        let settings = self.settings.checked("the app")?;
        let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
        let layers: Arc<[Layer]> = self.layers.into();
        let stopping = Arc::new(AtomicBool::new(false));
        let mut joined = Vec::new();
        for (group, service) in self.services {
            check_registered(&group, &service)?;
            check_needs(&self.engine, &group, &service.handlers)?;
            check_source_of(&group)?;
            let Registered {
                handlers, options, ..
            } = service;
            let settings = settings
                .clone()
                .for_service(&options)
                .checked(&format!("the service `{group}`"))?;
            let layers = match options.layers.as_slice() {
                [] => layers.clone(),
                inner => layers.iter().chain(inner).cloned().collect(),
            };
            let dispatch = Dispatch {
                engine: self.engine.shared().clone(),
                routes: Routes::new(&group, handlers)?,
                layers,
                counters: self.metrics.group(&group),
                start: settings.start,
                workers: settings.workers,
                in_flight_max: settings.in_flight_max,
                concurrency: settings.concurrency,
                seed,
                stopping: stopping.clone(),
                state_scope: StateScope::default(),
                group: group.into(),
            };
            let member = dispatch.join().await?;
            joined.push((dispatch, member));
        }
        let (order, orders) = watch::channel(Order::Run);
        let mut tasks = JoinSet::new();
        let services = joined.iter().map(|(dispatch, _)| dispatch.group.clone());
        let services = services.collect();
        for (dispatch, member) in joined {
            let group = dispatch.group.clone();
            let run = dispatch.run(member, orders.clone());
            tasks.spawn(async move { (group, run.await) });
        }
        tracing::info!(
            engine = self.engine.url(),
            services = tasks.len(),
            "app started"
        );
        Ok(Running::new(
            self.engine,
            self.metrics,
            (stopping, order),
            (services, tasks),
            settings.shutdown,
        ))
    }

    /// Runs until the process is asked to stop (Ctrl-C, SIGTERM) or a service cannot go on; then
    /// drains and closes the engine, both within the [`shutdown_deadline`](Self::shutdown_deadline).
    /// Asked a second time, it stops at once: what was not committed is delivered again.
    ///
    /// # Errors
    /// As for [`App::start`] and [`Running::stop`].
    pub async fn run(self) -> Result<()> {
        let mut running = self.start().await?;
        let mut signals = Signals::new();
        let failed = tokio::select! {
            failed = running.failed() => Some(failed),
            () = signals.next() => None,
        };
        tracing::info!("stopping: waiting for handlers under way");
        let stopped = tokio::select! {
            stopped = running.stop_and_close() => stopped,
            () = signals.next() => {
                tracing::warn!("asked again to stop: handlers under way are let go of");
                Ok(())
            }
        };
        match failed {
            Some(error) => Err(error),
            None => stopped,
        }
    }
}

/// Whether `group` is one service, and has handlers: options alone are a name that was mistaken.
fn check_registered(group: &str, service: &Registered) -> Result<()> {
    if service.services > 1 {
        return Err(Error::App(AppError::ServiceTwice {
            service: group.to_owned(),
        }));
    }
    if service.handlers.is_empty() {
        return Err(Error::App(AppError::UnknownService {
            service: group.to_owned(),
        }));
    }
    Ok(())
}

fn check_needs(engine: &Engine, group: &str, handlers: &[Handler]) -> Result<()> {
    for handler in handlers {
        for need in &handler.options().needs {
            if !engine.guarantees().gives(*need) {
                return Err(Error::App(AppError::Unsupported {
                    engine: engine.url().to_owned(),
                    what: need.describe().to_owned(),
                    handler: format!("{group}.{}", handler.name()),
                }));
            }
        }
    }
    Ok(())
}
