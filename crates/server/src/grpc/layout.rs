//! What of a message can repeat: a few bytes of it are hundreds in memory.

use ensue::engine::{APPEND_EVENTS_MAX, EFFECTS_MAX};
use ensue_proto::v1;

use crate::subscribing::{TOPICS_MAX, TYPES_MAX};

/// The most extensions that the events of a message have together.
const EXTENSIONS_MAX: usize = 16 * APPEND_EVENTS_MAX;
/// The most events that a commit says the outcome of.
const OUTCOMES_MAX: usize = APPEND_EVENTS_MAX;

/// The fields of a message that repeat, or have such fields.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) fields: &'static [Field],
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// What each occurrence is; `None` where only the last counts.
    pub(super) part: Option<Part>,
    /// What is in it; `None` for texts, bytes and numbers.
    pub(super) layout: Option<&'static Layout>,
}

/// What a message has several of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Event,
    Extension,
    Effect,
    Cell,
    /// Its position alone.
    Settled,
    Retry,
    Death,
    Topic,
    Type,
    /// Of what is cancelled.
    Name,
    /// Of a filter.
    Position,
    Text,
}

impl Part {
    pub(super) const COUNT: usize = 12;

    /// What it is called, for who sent too many.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Event => "events",
            Self::Extension => "extensions",
            Self::Effect => "effects",
            Self::Cell => "cells of state",
            Self::Settled | Self::Position => "positions",
            Self::Retry => "retries",
            Self::Death => "dead letters",
            Self::Topic => "topics",
            Self::Type => "types",
            Self::Name => "names",
            Self::Text => "texts",
        }
    }

    /// How many a message may have. The others are kept small by how large their message may be.
    pub(super) const fn max(self) -> usize {
        match self {
            Self::Event => APPEND_EVENTS_MAX,
            Self::Extension => EXTENSIONS_MAX,
            Self::Effect | Self::Cell => EFFECTS_MAX,
            Self::Settled | Self::Retry | Self::Death => OUTCOMES_MAX,
            Self::Topic => TOPICS_MAX,
            Self::Type => TYPES_MAX,
            Self::Name | Self::Position | Self::Text => usize::MAX,
        }
    }

    /// How many bytes one takes in memory, besides those that it was sent in. A vector that grows has room
    /// for twice as many.
    pub(super) const fn bytes(self) -> usize {
        2 * match self {
            Self::Event => size_of::<v1::Append>(),
            Self::Extension => size_of::<v1::Extension>(),
            Self::Effect => size_of::<v1::Effect>(),
            Self::Cell => size_of::<v1::StateWrite>(),
            Self::Settled | Self::Position => size_of::<u64>(),
            Self::Retry => size_of::<v1::Retry>(),
            Self::Death => size_of::<v1::Death>(),
            Self::Name => size_of::<v1::EventId>(),
            Self::Topic | Self::Type | Self::Text => size_of::<String>(),
        }
    }

    /// Whether it is a number, of which several may be in one field.
    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Settled | Self::Position)
    }
}

const fn once(number: u32, layout: &'static Layout) -> Field {
    Field {
        number,
        part: None,
        layout: Some(layout),
    }
}

const fn parts(number: u32, part: Part, layout: &'static Layout) -> Field {
    Field {
        number,
        part: Some(part),
        layout: Some(layout),
    }
}

const fn plain(number: u32, part: Part) -> Field {
    Field {
        number,
        part: Some(part),
        layout: None,
    }
}

const fn of(fields: &'static [Field]) -> Layout {
    Layout { fields }
}

/// Of a message without anything that repeats.
pub(super) static PLAIN: Layout = of(&[]);
static EVENT: Layout = of(&[parts(14, Part::Extension, &PLAIN)]);
static APPEND: Layout = of(&[once(1, &EVENT)]);
pub(super) static APPEND_REQUEST: Layout = of(&[parts(1, Part::Event, &APPEND)]);
pub(super) static ASK: Layout = of(&[once(1, &EVENT)]);
pub(super) static READ: Layout = of(&[plain(3, Part::Type)]);
pub(super) static CANCEL: Layout = of(&[parts(1, Part::Name, &PLAIN)]);
static FILTER: Layout = of(&[
    plain(1, Part::Position),
    plain(2, Part::Text),
    plain(4, Part::Text),
]);
/// Of what has a group and then a filter of its dead letters.
pub(super) static OF_DEAD_LETTERS: Layout = of(&[once(2, &FILTER)]);
static SUBSCRIPTION: Layout = of(&[plain(2, Part::Topic), plain(3, Part::Type)]);
static JOIN_GROUP: Layout = of(&[once(1, &SUBSCRIPTION)]);
static EFFECT: Layout = of(&[once(1, &APPEND)]);
static COMMIT: Layout = of(&[
    plain(1, Part::Settled),
    parts(2, Part::Retry, &PLAIN),
    plain(3, Part::Settled),
    parts(4, Part::Death, &PLAIN),
    parts(5, Part::Effect, &EFFECT),
    parts(6, Part::Cell, &PLAIN),
]);
static COMMIT_EVENTS: Layout = of(&[once(2, &COMMIT)]);
pub(super) static JOIN: Layout = of(&[once(1, &JOIN_GROUP), once(5, &COMMIT_EVENTS)]);
