//! A topic and a key: what the order of events is kept for, and what waits together.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

/// A topic and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicKey(Arc<(Box<str>, Box<str>)>);

impl TopicKey {
    pub(crate) fn new(topic: &str, key: &str) -> Self {
        Self(Arc::new((topic.into(), key.into())))
    }

    pub(crate) fn topic(&self) -> &str {
        &self.0.0
    }

    pub(crate) fn key(&self) -> &str {
        &self.0.1
    }

    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef(self.topic(), self.key())
    }
}

impl Hash for TopicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// A borrowed topic and key.
#[derive(Clone, Copy, Hash)]
pub(crate) struct KeyRef<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl Equivalent<TopicKey> for KeyRef<'_> {
    fn equivalent(&self, key: &TopicKey) -> bool {
        self.0 == key.topic() && self.1 == key.key()
    }
}

/// Something for each of some keys.
pub(crate) type ByKey<T> = HashMap<TopicKey, T, foldhash::fast::RandomState>;

/// That, as a checkpoint holds it: a list.
pub(crate) mod by_key {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{ByKey, TopicKey};

    #[derive(Serialize, Deserialize)]
    struct Stored<T> {
        topic: String,
        key: String,
        value: T,
    }

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        all: &ByKey<T>,
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
    ) -> Result<ByKey<T>, D::Error> {
        let stored = Vec::<Stored<T>>::deserialize(from)?;
        let entry = |it: Stored<T>| (TopicKey::new(&it.topic, &it.key), it.value);
        Ok(stored.into_iter().map(entry).collect())
    }
}
