//! State that decides: an aggregate is the fold of the events of one key in one topic.
//!
//! Few concepts: the state and what events mean to it ([`Aggregate`]), a *decision* ([`Decision`]: any
//! function of the state that gives events, or a refusal), and two that run decisions, so that each is
//! made on all that was decided before:
//!
//! - [`Aggregates`], in any program: load, decide, append on condition that nothing was appended
//!   meanwhile, and again if something was;
//! - [`Context::decide`](crate::Context::decide), in a handler: the events, the state and the reply are
//!   part of the commit that settles the command.
//!
//! A topic has one of the two. Events carry the version that they make (the attribute
//! `aggregateversion`), by which a history that is not whole, or that two wrote without knowing of each
//! other, is noticed instead of folded.

mod aggregates;
mod attributes;
mod command;
mod decision;
mod history;
mod in_service;
mod offer;
mod receipt;
mod recent;
mod snapshot;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::{DecodeError, Envelope, Event};

pub use self::aggregates::{Aggregates, CONFLICTS_MAX, Deciding, Loaded};
#[doc(hidden)]
pub use self::command::decided_at;
#[cfg(feature = "embedded")]
pub(crate) use self::decision::certain;
pub use self::decision::{Decision, Never};
pub use self::history::DECISIONS_REMEMBERED;
pub use self::in_service::Decided;
pub use self::receipt::Receipt;
pub use self::snapshot::SNAPSHOT_BYTES_MAX;

/// State that decides: what the events of one key in one topic have led to.
///
/// `#[aggregate]` on its `impl` block implements it; its state before the first event is its
/// [`Default`]. Decisions are its other methods, which look at it and return what follows:
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "seat.booked", topic = "seats")]
/// struct Booked { guest: String }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Seat { guest: Option<String> }
///
/// #[aggregate]
/// impl Seat {
///     #[apply]
///     fn booked(&mut self, event: Booked) {
///         self.guest = Some(event.guest);
///     }
///
///     fn book(&self, guest: &str) -> Result<Booked, String> {
///         match &self.guest {
///             None => Ok(Booked { guest: guest.into() }),
///             Some(guest) => Err(format!("{guest} has booked it")),
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let seats = engine.aggregates::<Seat>("/theatre");
/// let booked = seats.decide("12-F", |seat| seat.book("Ada")).await?;
/// assert_eq!(booked.unwrap().version, 1);
/// let refused = seats.decide("12-F", |seat| seat.book("Ben")).await?;
/// assert_eq!(refused.unwrap_err(), "Ada has booked it");
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    note = "put `#[aggregate]` on the `impl` block that holds its `#[apply]` methods, and derive \
            `Default`, `Serialize` and `Deserialize` for it"
)]
pub trait Aggregate: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name: in errors, and where its snapshots are kept.
    const NAME: &'static str;

    /// The topic of its events. The key is what tells one aggregate of this type from another.
    const TOPIC: &'static str;

    /// The types of the events that it knows, those that mean nothing to it included.
    const EVENTS: &'static [&'static str];

    /// The version of its state, from 1: snapshots of another one are thrown away.
    const VERSION: u16 = 1;

    /// After how many events a snapshot is kept; 0 is none.
    const SNAPSHOT_EVERY: u32 = 100;

    /// Applies an event of one of the types that it knows. By its payload alone: what the envelope says
    /// beside it may differ between the first time and a replay.
    ///
    /// # Errors
    /// [`DecodeError`] when the payload is not what the type expects.
    fn apply_envelope(&mut self, envelope: &Envelope) -> Result<(), DecodeError>;
}

/// Says that events of type `E` are events of this aggregate: its decisions may return them.
/// `#[aggregate]` implements it for what has an `#[apply]` method, or is ignored.
#[diagnostic::on_unimplemented(
    message = "`{E}` is not an event of the aggregate `{Self}`",
    note = "say what it means to it, `#[apply] fn …(&mut self, event: {E})`, or that it means nothing, \
            `#[aggregate(ignore = [{E}])]`"
)]
pub trait Applies<E: Event>: Aggregate {}
