//! The methods that apply events, and which of them takes which.

use crate::__private;
use crate::contained::contained;
use crate::engine::Recorded;
use crate::event::{Envelope, Event};
use crate::failure::Failure;
use crate::topic::TopicPattern;

/// What a method that applies events may return: nothing, or a `Result` of that, with any error.
pub trait Applied {
    /// Whether it was applied.
    ///
    /// # Errors
    /// [`Failure`]: it was not, and nothing has changed.
    fn applied(self) -> Result<(), Failure>;
}

impl Applied for () {
    fn applied(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> Applied for Result<(), E> {
    fn applied(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Folded {
    Applied,
    /// It was not, for this reason, and the value is as it was.
    Refused(String),
    /// The method has panicked: nothing is known of the value.
    Panicked(String),
}

/// Decodes an event, and calls the method.
type Apply<T> = dyn Fn(&mut T, &Envelope) -> Result<(), Failure> + Send + Sync;

/// A method, and which events it takes.
pub(super) struct Fold<T> {
    pub(super) event: &'static str,
    pub(super) topics: TopicPattern,
    apply: Box<Apply<T>>,
    check: fn(&Envelope) -> Result<(), Failure>,
}

impl<T> Fold<T> {
    pub(super) fn new<E, F, R>(method: F) -> Self
    where
        E: Event,
        F: Fn(&mut T, E) -> R + Send + Sync + 'static,
        R: Applied,
    {
        Self {
            event: E::TYPE,
            topics: __private::topics(E::TOPIC),
            apply: Box::new(move |value, envelope| {
                let event = decode::<E>(envelope)?;
                method(value, event).applied()
            }),
            check: |envelope| decode::<E>(envelope).map(drop),
        }
    }

    pub(super) fn takes(&self, event: &Envelope) -> bool {
        self.event == event.event_type() && self.topics.matches(event.topic())
    }

    /// Applies an event that it takes.
    pub(super) fn apply(&self, value: &mut T, event: &Recorded) -> Folded {
        // The failure is told, and let go of, in here: both are the program's own code.
        let applied = contained(|| {
            let applied = (self.apply)(value, &event.envelope);
            applied.map_err(|failure| failure.to_string())
        });
        match applied {
            Ok(Ok(())) => Folded::Applied,
            Ok(Err(reason)) => Folded::Refused(reason),
            Err(panic) => Folded::Panicked(format!("it panicked: {panic}")),
        }
    }

    /// Why an event was left out, as its dead letter says it.
    pub(super) fn why_left_out(&self, event: &Envelope, reason: String) -> Failure {
        let undecodable = contained(|| (self.check)(event)).unwrap_or(Ok(()));
        undecodable.err().unwrap_or_else(|| Failure::reject(reason))
    }
}

fn decode<E: Event>(event: &Envelope) -> Result<E, Failure> {
    event.decode().map_err(Failure::undecodable)
}
