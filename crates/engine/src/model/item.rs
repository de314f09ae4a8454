//! One event that was put aside.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::Died;
use super::topic_key::TopicKey;
use crate::engine::{DeathCause, Position};
use crate::time::Timestamp;

/// One event that was put aside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) lane: TopicKey,
    /// How many attempts have failed.
    pub(crate) attempts: u32,
    /// How often it was redriven.
    pub(crate) redriven: u32,
    pub(crate) state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Behind others of its key.
    Parked,
    /// To be tried again when it is due, or at once when the clock shows a time before `since`, when
    /// that was committed: then it was set back, or the clock of another process is ahead.
    Retrying {
        due: Timestamp,
        #[serde(default)]
        since: Timestamp,
    },
    Dead(Box<Dead>),
}

/// What many dead letters have in common.
pub(crate) type Text = Arc<str>;

/// A dead letter. There may be very many of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dead {
    pub(crate) id: Box<str>,
    #[serde(with = "stored_text")]
    pub(crate) source: Text,
    #[serde(with = "stored_text")]
    pub(crate) kind: Text,
    pub(crate) cause: DeathCause,
    #[serde(with = "stored_text")]
    pub(crate) reason: Text,
    pub(crate) died: Timestamp,
    /// Whether later events of the key wait behind it.
    pub(crate) blocks: bool,
    /// Whether they do although they were to be handled: nothing more can be put aside.
    #[serde(default)]
    pub(crate) is_stopped: bool,
}

impl Item {
    /// Whether later events of its key wait behind it.
    pub(crate) fn occupies(&self) -> bool {
        !matches!(&self.state, State::Dead(dead) if !dead.blocks)
    }

    /// Whether it holds up its lane until its time comes or an operator does something.
    pub(crate) fn holds_up(&self) -> bool {
        self.occupies() && self.state != State::Parked
    }
}

impl Dead {
    pub(crate) fn new(died: &Died, at: Timestamp, texts: &mut Texts) -> Self {
        Self {
            id: died.id.as_str().into(),
            source: texts.share(&died.source),
            kind: texts.share(&died.kind),
            cause: died.cause,
            reason: texts.share(&died.reason),
            died: at,
            blocks: died.blocks,
            is_stopped: died.is_stopped,
        }
    }

    /// Shares what it has in common with others.
    pub(crate) fn share(&mut self, texts: &mut Texts) {
        for text in [&mut self.source, &mut self.kind, &mut self.reason] {
            *text = texts.share(text);
        }
    }
}

/// How many texts are remembered.
const TEXTS_MAX: usize = 32;

/// The texts of the last dead letters, so that equal ones take memory once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(VecDeque<Text>);

impl Texts {
    fn share(&mut self, text: &str) -> Text {
        if let Some(known) = self.0.iter().find(|known| &***known == text) {
            return known.clone();
        }
        if self.0.len() >= TEXTS_MAX {
            self.0.pop_front();
        }
        let text: Text = text.into();
        self.0.push_back(text.clone());
        text
    }
}

impl PartialEq for Texts {
    /// They say nothing that the letters do not.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

mod stored_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::item::Text;

    pub(crate) fn serialize<S: Serializer>(text: &Text, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        Ok(String::deserialize(from)?.into())
    }
}

/// An item as a checkpoint holds it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) position: Position,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) attempts: u32,
    pub(crate) redriven: u32,
    pub(crate) state: State,
}
