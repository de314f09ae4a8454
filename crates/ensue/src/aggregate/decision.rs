//! What a decision may give.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Aggregate, Applies};
use crate::effect::ReturnedEvent;
use crate::outgoing::Outgoing;

/// What a decision may give for the aggregate `A`.
///
/// Implemented for `()` (nothing happens), every event of the aggregate, [`Outgoing`], `Option`, `Vec`,
/// arrays and tuples of them, and for a `Result` of that: its error is the *refusal*, a value of any type.
/// A refusal is no failure. It is neither tried again nor a dead letter: who asked gets it.
///
/// An [`Outgoing`] may be for later: an event that the log itself adds to the history of the aggregate when
/// its time has come, whatever was decided until then. Others have no ids of their own: of an id that is known nothing
/// is appended, and the history would not be whole.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something that a decision for `{A}` can give",
    label = "not events of `{A}`",
    note = "give `()`, an event of the aggregate, or an `Option`, `Vec` or tuple of them, or a `Result` of \
            that, whose error is the refusal"
)]
pub trait Decision<A: Aggregate> {
    /// Why it was decided against; [`Never`] if it never is.
    type Refusal;

    /// The events.
    ///
    /// # Errors
    /// The refusal.
    fn into_events(self) -> Result<Vec<Outgoing>, Self::Refusal>;
}

/// The refusal of a decision that refuses nothing: there is no value of it, so that
/// `let Ok(receipt) = … .await?;` compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl<A: Aggregate> Decision<A> for () {
    type Refusal = Never;

    fn into_events(self) -> Result<Vec<Outgoing>, Never> {
        Ok(Vec::new())
    }
}

impl<A: Applies<E>, E: ReturnedEvent> Decision<A> for E {
    type Refusal = Never;

    fn into_events(self) -> Result<Vec<Outgoing>, Never> {
        Ok(vec![Outgoing::new(self)])
    }
}

impl<A: Aggregate> Decision<A> for Outgoing {
    type Refusal = Never;

    fn into_events(self) -> Result<Vec<Outgoing>, Never> {
        Ok(vec![self])
    }
}

impl<A: Aggregate, D: Decision<A>> Decision<A> for Option<D> {
    type Refusal = D::Refusal;

    fn into_events(self) -> Result<Vec<Outgoing>, D::Refusal> {
        self.map_or_else(|| Ok(Vec::new()), D::into_events)
    }
}

impl<A: Aggregate, D: Decision<A>> Decision<A> for Vec<D> {
    type Refusal = D::Refusal;

    fn into_events(self) -> Result<Vec<Outgoing>, D::Refusal> {
        collect(self)
    }
}

impl<A: Aggregate, D: Decision<A>, const N: usize> Decision<A> for [D; N] {
    type Refusal = D::Refusal;

    fn into_events(self) -> Result<Vec<Outgoing>, D::Refusal> {
        collect(self)
    }
}

fn collect<A: Aggregate, D: Decision<A>>(
    parts: impl IntoIterator<Item = D>,
) -> Result<Vec<Outgoing>, D::Refusal> {
    let mut all = Vec::new();
    for part in parts {
        all.extend(part.into_events()?);
    }
    Ok(all)
}

impl<A: Aggregate, D: Decision<A, Refusal = Never>, R> Decision<A> for Result<D, R> {
    type Refusal = R;

    fn into_events(self) -> Result<Vec<Outgoing>, R> {
        self.map(certain::<A, D>)
    }
}

/// The events of a decision that refuses nothing.
pub(crate) fn certain<A: Aggregate, D: Decision<A, Refusal = Never>>(decision: D) -> Vec<Outgoing> {
    let Ok(events) = decision.into_events();
    events
}

macro_rules! tuples {
    ($($($part:ident)+),+ $(,)?) => {$(
        impl<A: Aggregate, $($part: Decision<A, Refusal = Never>),+> Decision<A> for ($($part,)+) {
            type Refusal = Never;

            fn into_events(self) -> Result<Vec<Outgoing>, Never> {
                #[allow(non_snake_case, reason = "the type parameters double as the parts' names")]
                let ($($part,)+) = self;
                let mut all = Vec::new();
                $(all.extend(certain::<A, $part>($part));)+
                Ok(all)
            }
        }
    )+};
}

tuples!(B C, B C D, B C D E, B C D E F, B C D E F G);
