//! What a cache keeps of a key.

use std::sync::Arc;
use std::time::Duration;

use ensue_core::engine::Position;
use ensue_core::time::Timestamp;

/// What a loader has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// All events up to here are in it: how far what it was read from had got, asked in the same transaction,
    /// or before.
    pub position: Position,
    /// The value; `None` if there is none, which is kept, too.
    pub value: Option<T>,
}

impl<T> Loaded<T> {
    /// A value, or that there is none, as of `position`.
    pub fn new(position: Position, value: Option<T>) -> Self {
        Self { position, value }
    }
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<T> {
    /// Its value.
    Present(Arc<T>),
    /// That it has none.
    Absent,
    /// That what was known before the position does not hold any more.
    Outdated,
}

impl<T> Clone for Content<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Present(value) => Self::Present(value.clone()),
            Self::Absent => Self::Absent,
            Self::Outdated => Self::Outdated,
        }
    }
}

/// What a store keeps of a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// All events up to here are in it. One with a smaller position does not take its place.
    pub position: Position,
    /// What is known.
    pub content: Content<T>,
    /// It is given without another look until then.
    pub fresh_until: Timestamp,
    /// It is given while it is loaded anew until then.
    pub stale_until: Timestamp,
    /// How long the store keeps it, from when it is put.
    pub keep: Duration,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            content: self.content.clone(),
            ..*self
        }
    }
}

/// A value as callers get it, and the position that it is of.
pub(super) struct Value<T> {
    pub(super) position: Position,
    pub(super) value: Option<Arc<T>>,
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self {
            position: self.position,
            value: self.value.clone(),
        }
    }
}

impl<T> Entry<T> {
    /// What it gives to callers, unless it is outdated.
    pub(super) fn value(&self) -> Option<Value<T>> {
        let value = match &self.content {
            Content::Present(value) => Some(value.clone()),
            Content::Absent => None,
            Content::Outdated => return None,
        };
        Some(Value {
            position: self.position,
            value,
        })
    }
}
