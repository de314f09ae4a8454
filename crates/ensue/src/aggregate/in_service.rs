//! Deciding in a service: the events, the state and the reply are one commit with the command.

use serde::{Deserialize, Serialize};

use super::command::{self, Answer};
use super::offer::Offer;
use super::{Aggregate, Decision, Never, snapshot};
use crate::effect::{Effects, IntoEffects};
use crate::error::{AggregateError, Error, Result};
use crate::event::{Codec, InvalidEvent};
use crate::failure::Failure;
use crate::outgoing::Outgoing;
use crate::personal::OnForgotten;
use crate::service::Context;

/// What a decision in a handler has given: return it, and its events, the new state and the reply to who
/// sent the command ([`Requester::command`](crate::Requester::command)) are committed together with the
/// command. Made by [`Context::decide`].
#[derive(Debug)]
#[must_use = "a decision is made when a handler returns it"]
pub struct Decided<R = Never> {
    outcome: Outcome<R>,
    effects: Effects,
}

#[derive(Debug)]
enum Outcome<R> {
    Accepted,
    Refused(R),
    /// The command is handled again after a reset, and nothing of it counts.
    HeldBack,
}

/// An aggregate as the service keeps it.
#[derive(Serialize)]
struct Written<'a, A> {
    schema: u16,
    version: u64,
    state: &'a A,
}

#[derive(Deserialize)]
struct Kept<A> {
    version: u64,
    state: A,
}

/// What tells its version, whatever the state is.
#[derive(Deserialize)]
struct Schema {
    schema: u16,
}

impl<R> Decided<R> {
    /// Why it was decided against.
    pub fn refusal(&self) -> Option<&R> {
        match &self.outcome {
            Outcome::Refused(refusal) => Some(refusal),
            Outcome::Accepted | Outcome::HeldBack => None,
        }
    }

    /// Whether it was decided for.
    pub fn is_accepted(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted)
    }

    /// This and `more`, in one commit: events of other topics, schedules, a further command.
    pub fn and(mut self, more: impl IntoEffects) -> Self {
        self.effects = self.effects.and(more);
        self
    }
}

impl<R> IntoEffects for Decided<R> {
    fn into_effects(self) -> Result<Effects, Failure> {
        self.effects.into_effects()
    }
}

impl Context {
    /// Decides for the aggregate whose key is that of the event at hand, the *command*. Return what this
    /// gives: the events of the decision, the state that they lead to and the reply to the requester
    /// become durable together with the command's position, or none of them. So a command is decided once,
    /// in the order of its key, on the state that all earlier decisions have led to, and neither conflicts
    /// nor waits for a disk in between.
    ///
    /// ```
    /// use ensue::prelude::*;
    /// use std::time::Duration;
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(type = "seat.booked", topic = "seats", key = seat)]
    /// struct Booked { seat: String, guest: String }
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(type = "seat.book", topic = "seat-commands", key = seat)]
    /// struct Book { seat: String, guest: String }
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
    ///     fn book(&self, Book { seat, guest }: Book) -> Result<Booked, String> {
    ///         match &self.guest {
    ///             None => Ok(Booked { seat, guest }),
    ///             Some(guest) => Err(format!("{guest} has booked it")),
    ///         }
    ///     }
    /// }
    ///
    /// struct Theatre;
    ///
    /// #[service]
    /// impl Theatre {
    ///     #[on]
    ///     async fn book(&self, command: Book, ctx: &Context) -> Result<Decided<String>, Failure> {
    ///         ctx.decide(|seat: &Seat| seat.book(command)).await
    ///     }
    /// }
    ///
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let engine = Engine::open("memory:").await?;
    /// let app = App::new(engine.clone()).service(Theatre).start().await?;
    /// let requester = engine.requester("/web");
    /// let book = |guest: &str| {
    ///     let command = Book { seat: "12-F".into(), guest: guest.into() };
    ///     requester.command::<String>(command, Duration::from_secs(5))
    /// };
    /// assert_eq!(book("Ada").await?.unwrap().version, 1);
    /// assert_eq!(book("Ben").await?.unwrap_err(), "Ada has booked it");
    /// app.stop().await?;
    /// # Ok::<(), ensue::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The service is the only one that decides for its aggregates: what others append to their topic it
    /// does not see, but for the history that an aggregate has when its first command comes. All commands
    /// of an aggregate are of one topic. The state is a cell of the service's ([`Context::state`]), and
    /// counts for `state_bytes_max` of the engine. When the state's version changes, it is folded from the
    /// log again.
    ///
    /// Of a command that is handled again after a reset and whose effects are held back, nothing is
    /// decided: what it led to is in the log.
    ///
    /// # Errors
    /// The error of an engine that cannot be asked means another attempt; one that another try cannot help
    /// ([`AggregateError::Diverged`], [`AggregateError::Foreign`], a command without a key, an event for
    /// later) is a rejection; a history that a newer program wrote waits for that program.
    pub async fn decide<A: Aggregate, D: Decision<A>>(
        &self,
        decision: impl FnOnce(&A) -> D,
    ) -> Result<Decided<D::Refusal>, Failure>
    where
        D::Refusal: Serialize,
    {
        if self.key().is_empty() {
            return Err(Failure::reject(
                "a command without a key is for no aggregate: give its type a `key`",
            ));
        }
        if self.is_held_back() {
            return Ok(Decided {
                outcome: Outcome::HeldBack,
                effects: Effects::none(),
            });
        }
        match decide(self, decision).await {
            Ok(decided) => Ok(decided),
            Err(Error::Aggregate(error)) if !error.waits_for_another_program() => {
                Err(Failure::reject(error))
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn decide<A: Aggregate, D: Decision<A>>(
    context: &Context,
    decision: impl FnOnce(&A) -> D,
) -> Result<Decided<D::Refusal>>
where
    D::Refusal: Serialize,
{
    let cell = format!("aggregate.{}", A::NAME);
    let kept = context.cell(&cell).await?;
    let (mut state, before) = match kept.as_deref().and_then(read::<A>) {
        Some(kept) => (kept.state, kept.version),
        None => from_log(context).await?,
    };
    let events = match decision(&state).into_events() {
        Ok(events) => events,
        Err(refusal) => {
            return Ok(Decided {
                effects: command::reply(&Answer::Refused(&refusal))?,
                outcome: Outcome::Refused(refusal),
            });
        }
    };
    let offer = Offer {
        key: context.key(),
        version: before,
        decision: None,
        decider: Some(context.group()),
    };
    let mut effects = Effects::none();
    let mut version = before;
    for event in offer.complete::<A>(events)? {
        // As it will be written: what is personal in the state is sealed then, too.
        let event = event
            .sealed(&**context.engine(), OnForgotten::Blank)
            .await?;
        apply(&mut state, context, &event)?;
        version += 1;
        effects = effects.publish(event);
    }
    if version > before {
        let schema = A::VERSION;
        let state = &state;
        let written = Codec::MessagePack.encode(&Written {
            schema,
            version,
            state,
        });
        let written = written.map_err(InvalidEvent::from)?;
        effects = effects.set_raw_state(&cell, Some(written.into()));
    }
    // Right behind the events: its position tells theirs.
    let answer = Answer::<&D::Refusal>::Accepted {
        version,
        events: version - before,
    };
    effects = effects.and(command::reply(&answer)?);
    Ok(Decided {
        effects,
        outcome: Outcome::Accepted,
    })
}

/// What a cell holds, if this program can read it: what it cannot is folded from the log again.
fn read<A: Aggregate>(bytes: &[u8]) -> Option<Kept<A>> {
    let Schema { schema } = Codec::MessagePack.decode(bytes).ok()?;
    let kept = || Codec::MessagePack.decode(bytes).ok();
    (schema == A::VERSION).then(kept).flatten()
}

/// The aggregate as the log has it: the service has no state of it, or of another version. Nothing that
/// the service has decided is missing there: what is not durable yet has left its state.
async fn from_log<A: Aggregate>(context: &Context) -> Result<(A, u64)> {
    let history = snapshot::load::<A>(context.engine(), context.key()).await?;
    match history.decider {
        Some(service) if service != context.group() => {
            Err(Error::Aggregate(AggregateError::DecidedByService {
                aggregate: A::NAME,
                key: context.key().to_owned(),
                service,
            }))
        }
        _ => Ok((history.state, history.version)),
    }
}

/// Applies an event as a replay will: by what is written of it.
fn apply<A: Aggregate>(state: &mut A, context: &Context, event: &Outgoing) -> Result<()> {
    let Some(builder) = event.envelope() else {
        // What cannot be encoded is refused when it is to be committed.
        return Ok(());
    };
    let foreign = |problem: String| {
        Error::Aggregate(AggregateError::Foreign {
            aggregate: A::NAME,
            key: context.key().to_owned(),
            event_type: builder.type_name().to_owned(),
            problem,
        })
    };
    if event.is_for_later() {
        return Err(foreign(
            "it is for later, when the service would not see it; schedule a command instead"
                .to_owned(),
        ));
    }
    let envelope = builder.clone().build()?;
    let applied = state.apply_envelope(&envelope);
    applied.map_err(|error| foreign(format!("it cannot be applied: {error}")))
}
