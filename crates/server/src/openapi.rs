//! What the HTTP API is, in the words of OpenAPI 3.1, from the types that its handlers take and answer.
//!
//! [`Input`] and [`Answer`] say what a type means to a client. A handler is made of such types, and a route of
//! handlers: what is not described cannot be served.

mod document;
mod events;
mod operation;
mod parameter;
mod refusals;
mod schemas;
mod values;

#[cfg(test)]
pub(crate) use self::document::ambiguous;
pub(crate) use self::document::{About, Described, Tag, about, document};
pub(crate) use self::events::{AnyEvent, EffectEvent, NewEvent, RecordedEvent, ReplyEvent};
pub(crate) use self::operation::{Answer, Input, Operation, Written};
pub(crate) use self::parameter::{Kind, Parameter, Place};
pub(crate) use self::refusals::{BODY, ENGINE, QUERY};
pub(crate) use self::schemas::{one_of, one_of_or_null};
pub(crate) use self::values::{
    Anything, Base64Text, CursorText, DurationText, PositionText, ProblemDocument, StartText, Time,
    TopicPatternText,
};
