//! Read models: a small view in memory, folded from the log by each process that reads it.
//!
//! ```text
//! the log ──read in order──> fold ──> the value, and its position
//!    └────── delivery ──> group: waits for the value, tells what was left out
//! ```
//!
//! In reading order: [`fold`] (methods), `view` (the value and its position), `snapshot`, `follow` (reading),
//! `group` (the engine's side), [`running`].

mod error;
mod fold;
mod follow;
mod group;
mod running;
mod snapshot;
mod view;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::ReadModelError;
pub use self::fold::Applied;
use self::fold::Fold;
pub use self::running::RunningReadModel;
pub use self::snapshot::READ_MODEL_SNAPSHOT_BYTES_MAX;
use self::snapshot::Snapshots;
pub use self::view::LEFT_OUT_MAX;
use crate::event::Event;
use crate::handle::Engine;
use crate::topic::TopicPattern;

/// A view in memory: a value that events change, in the order of the log, and the position that it is at.
///
/// For views that fit into memory and that each process keeps for itself: a price list, who may do what, sums
/// for a page. Larger ones are tables (`ensue-sql`'s `Projection`), those of one key an
/// [`Aggregate`](crate::Aggregate).
///
/// ```
/// use std::collections::BTreeMap;
/// use std::time::Duration;
/// use ensue::ReadModel;
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreated { order_id: String, customer: String }
///
/// #[derive(Default)]
/// struct Customers { orders: BTreeMap<String, u32> }
///
/// impl Customers {
///     fn created(&mut self, order: OrderCreated) {
///         *self.orders.entry(order.customer).or_default() += 1;
///     }
/// }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let customers = ReadModel::new("customers", Customers::default)
///     .on(Customers::created)
///     .start(&engine)
///     .await?;
///
/// let order = OrderCreated { order_id: "o-1".into(), customer: "ada".into() };
/// let written = engine.publish(order).await?.position;
/// customers.wait_until_applied(written, Duration::from_secs(2)).await?; // read your own write
/// assert_eq!(customers.read(|it| it.orders["ada"])?, 1);
/// customers.stop().await?;
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// # What is promised
///
/// The value is what the methods make of the events in the log that they take, each once and in the order of the
/// log, up to the position that it is at; what is read is of one position. Where the log was trimmed before a
/// process starts, it is what is left of it, or the newest snapshot and what came after.
///
/// Each process has all of it, whatever others do. A process that starts reads the log, or what came after the
/// newest [snapshot](Self::snapshots), before [`start`](Self::start) returns. Beside the value there is a page of
/// events in memory: 1,000 of them, or 16 MiB.
///
/// # Failures
///
/// An event that cannot be applied is left out, and is a dead letter of the group at once, which says why; later
/// events are applied. A method that panics may have changed half of something: the value is thrown away, and
/// built again without that event. Once the program can apply the event, its next start does, in its place: a
/// snapshot that lacks it belongs to another [`revision`](Self::revision).
///
/// # The group
///
/// The model is a group of its name, which handles an event when the value has it: so `ensue status` shows its lag, and
/// retention keeps what it lacks. Of several processes the group shows the one that is furthest behind with the
/// keys that it was given; [`without_group`](Self::without_group) shows nothing.
#[must_use = "a read model does nothing until it is started"]
pub struct ReadModel<T> {
    definition: Definition<T>,
}

/// What a model is made of.
struct Definition<T> {
    name: String,
    revision: u32,
    begin: Box<dyn Fn() -> T + Send + Sync>,
    folds: Vec<Fold<T>>,
    snapshots: Option<Snapshots<T>>,
    has_group: bool,
}

impl<T: Send + Sync + 'static> ReadModel<T> {
    /// A model named `name`, which is its group's name, too, that `begin` gives the value before the first event.
    pub fn new(name: &str, begin: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self {
            definition: Definition {
                name: name.to_owned(),
                revision: 1,
                begin: Box::new(begin),
                folds: Vec::new(),
                snapshots: None,
                has_group: true,
            },
        }
    }

    /// Adds a method that applies events of type `E`: `fn created(&mut self, order: OrderCreated)`, or one that
    /// returns a `Result` and leaves the value as it was when that is an error. Readers wait for it, so it neither
    /// blocks nor waits. What is [`Personal`](crate::Personal) in the event is masked.
    pub fn on<E, F, R>(mut self, method: F) -> Self
    where
        E: Event,
        F: Fn(&mut T, E) -> R + Send + Sync + 'static,
        R: Applied,
    {
        self.definition.folds.push(Fold::new(method));
        self
    }

    /// Which code this is, from 1 (the default). Raise it when what the methods make of events changes, or the
    /// value's type does: snapshots of other revisions are not used.
    pub fn revision(mut self, revision: u32) -> Self {
        self.definition.revision = revision;
        self
    }

    /// Puts a snapshot of the value into the log, in the topic `_snapshot.view.NAME`, each time that it has applied
    /// so many `events` more: a process that starts reads the newest one and what came after. One of more than
    /// [`READ_MODEL_SNAPSHOT_BYTES_MAX`] is not kept. They only save time: one that does not fit the log, is of
    /// another revision or cannot be read is not used. Every process writes its own.
    pub fn snapshots(mut self, events: u64) -> Self
    where
        T: Serialize + DeserializeOwned,
    {
        self.definition.snapshots = Some(Snapshots::every(events));
        self
    }

    /// Joins no group: for a process that may only read the log, or one of very many. Its lag is told by
    /// [`RunningReadModel::lag`] alone, what it leaves out is in the program's log alone, and retention may remove
    /// what it lacks.
    pub fn without_group(mut self) -> Self {
        self.definition.has_group = false;
        self
    }

    /// Starts it, and returns when the value has all that is in the log now. Cancel-safe: dropped, it stops.
    ///
    /// # Errors
    /// [`ReadModelError::Invalid`] when the model contradicts itself, and what the engine reports.
    pub async fn start(self, engine: &Engine) -> Result<RunningReadModel<T>, ReadModelError> {
        self.definition.check()?;
        RunningReadModel::begin(self.definition, engine).await
    }
}

impl<T> Definition<T> {
    fn check(&self) -> Result<(), ReadModelError> {
        let wrong = |problem: String| {
            Err(ReadModelError::Invalid {
                model: self.name.clone(),
                problem,
            })
        };
        if let Err(error) = crate::topic::validate(&self.name) {
            return wrong(format!("its name is a topic's for its snapshots: {error}"));
        }
        if self.folds.is_empty() {
            return wrong("it applies nothing: give it a method with `on`".to_owned());
        }
        let twin = self.folds.iter().enumerate().find(|(at, fold)| {
            let mut before = self.folds.iter().take(*at);
            before.any(|it| it.event == fold.event && it.topics.overlaps(&fold.topics))
        });
        if let Some((_, twin)) = twin {
            return wrong(format!("two methods apply `{}`: merge them", twin.event));
        }
        if self.snapshots.as_ref().is_some_and(|it| it.every == 0) {
            return wrong("a snapshot after 0 events; 1 or more are allowed".to_owned());
        }
        Ok(())
    }

    /// The types of events that it takes.
    fn types(&self) -> Vec<String> {
        let mut types: Vec<String> = self.folds.iter().map(|it| it.event.to_owned()).collect();
        types.sort();
        types.dedup();
        types
    }

    /// The topics, where one pattern says which.
    fn topics(&self) -> Option<TopicPattern> {
        let (first, others) = self.folds.split_first()?;
        let is_same = |other: &Fold<T>| other.topics == first.topics;
        others.iter().all(is_same).then(|| first.topics.clone())
    }
}
