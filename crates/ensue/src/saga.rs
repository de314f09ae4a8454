//! A process over time: steps that are undone in reverse when one of them cannot be done.

mod early;
mod events;
mod handlers;
mod operating;
mod path;
mod progress;
mod run;
mod step;
mod stuck;

use std::sync::Arc;

use crate::engine::SharedEngine;
use crate::error::Result;
use crate::event::Event;
use crate::outgoing::Outgoing;
use crate::service::{Handler, HandlerOptions};
use crate::state::{State, StateError};
use crate::topic::TopicPattern;

use self::handlers::{Initial, Taking};
pub use self::operating::{SagaProcess, SagaUndoing, Sagas};
pub use self::path::{SagaEntry, SagaMoment, SagaPath};
pub use self::progress::{SagaPhase, SagaStatus};
use self::run::Run;
use self::step::AnyStep;
pub use self::step::{Flow, Step};
pub use self::stuck::SagaStuck;

/// A process over time, one for each key: it begins with an event, does its [`Step`]s one after the other,
/// and, when one of them cannot be done, undoes those before in reverse.
///
/// A saga is a service (one consumer group, named like it) with a topic of its own, `sagas.NAME`: what
/// concerns a process is brought there under the key of the process, and handled in order. So the events of
/// the topic with that key are its *path*: what began it, each step that was due, what it waited for, how it
/// ended. A transition is one commit: the state, the next step, what the step has published, timeouts set
/// and cancelled. A crash repeats at most the call that was under way, with the same
/// [`Context::id`](crate::Context::id).
///
/// ```
/// use std::time::Duration;
/// use ensue::prelude::*;
/// use ensue::{Flow, Saga, Step};
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "trip.requested", topic = "trips", key = trip)]
/// struct TripRequested { trip: String }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "trip.paid", topic = "payments", key = trip)]
/// struct TripPaid { trip: String }
///
/// #[derive(State, Serialize, Deserialize)]
/// #[state(name = "trip")]
/// struct Trip { flight: Option<String>, is_paid: bool }
///
/// struct BookFlight; // and what it needs to reach the airline
///
/// impl Step<Trip> for BookFlight {
///     const NAME: &'static str = "flight";
///
///     async fn act(&self, trip: &mut Trip, ctx: &Context) -> Result<Flow, Failure> {
///         trip.flight = Some(format!("booked under {}", ctx.id())); // the idempotency key
///         Ok(Flow::next())
///     }
///
///     async fn undo(&self, trip: &mut Trip, _: &Context) -> Result<Effects, Failure> {
///         trip.flight = None;
///         Ok(Effects::none())
///     }
/// }
///
/// struct AwaitPayment;
///
/// impl Step<Trip> for AwaitPayment {
///     const NAME: &'static str = "payment";
///
///     async fn act(&self, trip: &mut Trip, _: &Context) -> Result<Flow, Failure> {
///         match trip.is_paid {
///             true => Ok(Flow::next()),
///             false => Ok(Flow::wait(Duration::from_secs(15 * 60))), // then what was done is undone
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let trips = Saga::new("trips", |_: TripRequested| Trip { flight: None, is_paid: false })
///     .on(|trip: &mut Trip, _: TripPaid| trip.is_paid = true)
///     .step(BookFlight)
///     .step(AwaitPayment);
///
/// let engine = Engine::open("memory:").await?;
/// let mut running = App::new(engine.clone()).saga(trips).start().await?;
/// engine.publish(TripRequested { trip: "t-1".into() }).await?;
/// running.settled().await?;
/// let status = engine.saga::<Trip>("trips", "t-1").await?.expect("it waits for the payment");
/// assert_eq!(status.step, "payment");
///
/// engine.publish(TripPaid { trip: "t-1".into() }).await?;
/// running.settled().await?;
/// assert!(engine.saga::<Trip>("trips", "t-1").await?.is_none(), "it has ended");
/// running.stop().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What becomes of a step
///
/// | [`Step::act`] gives | then |
/// | --- | --- |
/// | [`Flow::next`] | the next step is due; after the last one the saga has ended, `saga.ended` |
/// | [`Flow::wait`] | an event that the saga takes ([`Saga::on`]) has the step called again; when the time is over the steps before are undone, and this one, too |
/// | [`Flow::abort`] | the steps before are undone: the step itself has done nothing |
/// | an error | it is tried again, as handlers are |
/// | a rejection, or an error at the last attempt | the steps before are undone, and this one, which may be half done |
///
/// That a step may have to be undone is durable before it is called. [`Step::undo`] is called for one step
/// after the other, in reverse; an error is tried again. What cannot be undone after all attempts is a dead
/// letter of the group: the process is parked, and visible.
///
/// A step that ends its process, panics or takes longer than its timeout at every attempt is a dead letter,
/// too, as what it has done is not known.
///
/// # For operators
///
/// - what runs and what is stuck: `ensue saga list`; the path of a process: `ensue saga show NAME KEY`; its state:
///   [`Engine::saga`](crate::Engine::saga);
/// - try again: `ensue saga retry NAME KEY`; undo instead: `ensue saga compensate NAME KEY --reason WHY`;
/// - the same in a program: [`Engine::sagas`](crate::Engine::sagas).
///
/// # Limits
///
/// A key names one process at a time: an event that would begin another while it runs is dropped. Between what
/// begins a process and what it takes there is no order, as they come from different topics: an event for a
/// process that does not run is looked at again after a second and after a minute, then dropped. Steps are done
/// one after the other. Running processes go by the place of a step in the list: add steps at its end, or to a
/// saga of another name. A reset of the group that holds effects back calls no step; with the state afresh it
/// forgets the processes that run.
pub struct Saga<S> {
    name: String,
    initial: Initial<S>,
    takes: Vec<Taking<S>>,
    steps: Vec<AnyStep<S>>,
    options: HandlerOptions,
}

impl<S: State> Saga<S> {
    /// A saga that an event of type `E` begins, for the process of that event's key, with the state that
    /// `begin` makes of it.
    pub fn new<E: Event>(name: &str, begin: impl Fn(E) -> S + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            initial: Initial::new(begin),
            takes: Vec::new(),
            steps: Vec::new(),
            options: HandlerOptions::default(),
        }
    }

    /// Takes events of type `E`, for the process of the event's key: `take` notes in the state what it means.
    /// If a step waits, it is called again.
    #[must_use]
    pub fn on<E: Event>(self, take: impl Fn(&mut S, E) + Send + Sync + 'static) -> Self {
        self.on_by(|event: &E| event.key().into_owned(), take)
    }

    /// The same for the process whose key `key_of` finds in the event.
    #[must_use]
    pub fn on_by<E: Event>(
        mut self,
        key_of: impl Fn(&E) -> String + Send + Sync + 'static,
        take: impl Fn(&mut S, E) + Send + Sync + 'static,
    ) -> Self {
        self.takes.push(Taking::new(key_of, take));
        self
    }

    /// Adds a step, behind those before.
    #[must_use]
    pub fn step(mut self, step: impl Step<S>) -> Self {
        self.steps.push(AnyStep::new(step));
        self
    }

    /// How often steps are tried, and how long one attempt may take. Default: as of other handlers.
    #[must_use]
    pub fn options(mut self, options: HandlerOptions) -> Self {
        self.options = options;
        self
    }

    /// Its name and its handlers.
    pub(crate) fn into_service(self) -> (String, Vec<Handler>) {
        let Self { name, options, .. } = self;
        let topic = topic_of(&name);
        let pattern: Result<TopicPattern, _> = topic.parse();
        let options = HandlerOptions {
            // A name that is none of a topic makes a pattern that `App::start` refuses.
            topics: Some(pattern.unwrap_or_else(|_| TopicPattern::trusted(""))),
            ..options
        };
        let mut handlers = vec![self.initial.route(&topic)];
        handlers.extend(self.takes.iter().map(|taking| taking.route(&topic)));
        let run = Arc::new(Run::new(name.clone(), self.steps, options.attempts));
        handlers.push(self.initial.handler(&run, options.clone()));
        let takes = self.takes.iter();
        handlers.extend(takes.map(|taking| taking.handler(&run, options.clone())));
        handlers.extend(handlers::of_run(&run, &options));
        (name, handlers)
    }
}

/// The topic of a saga.
fn topic_of(name: &str) -> String {
    format!("sagas.{name}")
}

/// See [`Engine::saga`](crate::Engine::saga).
pub(crate) async fn status<S: State>(
    engine: &SharedEngine,
    name: &str,
    key: &str,
) -> Result<Option<SagaStatus<S>>, StateError> {
    progress::status(engine, name, &topic_of(name), key).await
}

/// See [`Engine::compensate_saga`](crate::Engine::compensate_saga).
pub(crate) fn compensation(name: &str, key: &str, reason: &str) -> Outgoing {
    let wish = events::Compensate {
        saga: name.to_owned(),
        reason: reason.to_owned(),
    };
    events::of(key, wish)
}
