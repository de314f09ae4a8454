//! One event that was put aside, and the key that it belongs to.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use serde::{Deserialize, Serialize};

use super::record::Died;
use crate::engine::DeathCause;
use crate::time::Timestamp;

/// A topic and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneKey(Arc<(Box<str>, Box<str>)>);

impl LaneKey {
    pub(crate) fn new(topic: &str, key: &str) -> Self {
        Self(Arc::new((topic.into(), key.into())))
    }

    pub(crate) fn topic(&self) -> &str {
        &self.0.0
    }

    pub(crate) fn key(&self) -> &str {
        &self.0.1
    }

    pub(crate) fn as_ref(&self) -> LaneRef<'_> {
        LaneRef(self.topic(), self.key())
    }
}

impl Hash for LaneKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// A borrowed topic and key.
#[derive(Clone, Copy, Hash)]
pub(crate) struct LaneRef<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl Equivalent<LaneKey> for LaneRef<'_> {
    fn equivalent(&self, key: &LaneKey) -> bool {
        self.0 == key.topic() && self.1 == key.key()
    }
}

/// Something for each of some keys.
pub(crate) type ByLane<T> = HashMap<LaneKey, T, foldhash::fast::RandomState>;

/// That, as a checkpoint holds it: a list.
pub(crate) mod by_lane {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::item::{ByLane, LaneKey};

    #[derive(Serialize, Deserialize)]
    struct Stored<T> {
        topic: String,
        key: String,
        value: T,
    }

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        all: &ByLane<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|(lane, value)| Stored {
            topic: lane.topic().to_owned(),
            key: lane.key().to_owned(),
            value,
        }))
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ByLane<T>, D::Error> {
        let stored = Vec::<Stored<T>>::deserialize(from)?;
        let entry = |it: Stored<T>| (LaneKey::new(&it.topic, &it.key), it.value);
        Ok(stored.into_iter().map(entry).collect())
    }
}

/// One event that was put aside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) lane: LaneKey,
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
    pub(crate) position: u64,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) attempts: u32,
    pub(crate) redriven: u32,
    pub(crate) state: State,
}
