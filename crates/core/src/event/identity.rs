//! What identifies an event: its source and its id, as CloudEvents says.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::Envelope;

/// What identifies an event: its source and, among the events of that source, its id.
///
/// Two events with one id are the same event only if their sources are equal, too. Dedup,
/// schedules and the ids of effects go by both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    source: String,
    id: String,
}

impl EventId {
    /// The event `id` of `source`.
    pub fn new(source: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            id: id.into(),
        }
    }

    /// Who published the event.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The event's id, unique within its source.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.id, self.source)
    }
}

impl Envelope {
    /// What identifies the event.
    pub fn event_id(&self) -> EventId {
        EventId::new(self.source(), self.id())
    }

    /// The 128 bits that stand for source and id when the log looks for duplicates.
    ///
    /// They are the first half of a SHA-256: no id can be chosen that is taken for another
    /// one, or for one of another source. Sources and ids may come from outside, and a chosen
    /// collision would drop another event in silence. A faster hash with a secret key would be as
    /// safe, but all processes of a log would have to share the key. Among the 2²⁰ ids that are
    /// remembered by default, the chance that some two different ones look the same is about
    /// 2⁴⁰ / 2¹²⁹.
    #[doc(hidden)]
    pub fn identity(&self) -> u128 {
        first_half(self.hash(0))
    }

    /// The id of what follows from this event in run `run` of `group`, as its effect number
    /// `index`: the same whenever the event is handled again in that run, and another after a
    /// reset.
    #[doc(hidden)]
    pub fn effect_id(&self, group: &str, run: u64, index: usize) -> Uuid {
        let mut hash = self.hash(1);
        add_number(&mut hash, run);
        add_number(&mut hash, index as u64);
        hash.update(group);
        Builder::from_custom_bytes(first_half(hash).to_be_bytes()).into_uuid()
    }

    /// Whether its id is of the kind that effects get ([`effect_id`](Self::effect_id)).
    #[doc(hidden)]
    pub fn has_effect_id(&self) -> bool {
        Uuid::try_parse_ascii(self.id_bytes()).is_ok_and(|id| id.get_version_num() == 8)
    }

    /// Begins a hash of source and id. Every part says where it ends, and is as short as can be:
    /// most names fit into one block.
    fn hash(&self, purpose: u8) -> Sha256 {
        let (source, id) = (self.source_bytes(), self.id_bytes());
        let mut hash = Sha256::new();
        // An attribute's length fits into a byte.
        hash.update([purpose, source.len() as u8]);
        hash.update(source);
        // A text that differs in case only is another id, so that only lower case is a UUID.
        let is_canonical = id.len() == 36 && !id.iter().any(u8::is_ascii_uppercase);
        match Uuid::try_parse_ascii(id) {
            Ok(uuid) if is_canonical => {
                hash.update([0]);
                hash.update(uuid.as_bytes());
            }
            // Never empty.
            _ => {
                hash.update([id.len() as u8]);
                hash.update(id);
            }
        }
        hash
    }
}

/// Adds a number in groups of seven bits, the lowest first; all but the last have the eighth bit.
fn add_number(hash: &mut Sha256, mut number: u64) {
    while number > 0x7f {
        hash.update([number as u8 | 0x80]);
        number >>= 7;
    }
    hash.update([number as u8]);
}

fn first_half(hash: Sha256) -> u128 {
    let digest: [u8; 32] = hash.finalize().into();
    digest
        .first_chunk()
        .map_or(0, |half| u128::from_be_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(source: &str, id: &str) -> Envelope {
        Envelope::builder("t", "e")
            .source(source)
            .id(id)
            .build()
            .unwrap()
    }

    #[test]
    fn identities_differ_when_source_or_id_differ() {
        let uuid = "0190b3a0-7b3c-7c3c-8c3c-0190b3a07b3c";
        let upper = uuid.to_uppercase();
        let bare = uuid.replace('-', "");
        let events = [
            event("/a", uuid),
            event("/b", uuid),
            event("/a", &upper),
            event("/a", &bare),
            event("/a", "o-1"),
            event("/ao", "-1"),
            event("/", "ao-1"),
        ];
        for (index, one) in events.iter().enumerate() {
            assert_eq!(one.identity(), one.clone().identity());
            assert_eq!(one.effect_id("g", 0, 0), one.effect_id("g", 0, 0));
            assert!(!one.has_effect_id());
            let effect = one.effect_id("g", 0, 0).to_string();
            assert!(event("/s", &effect).has_effect_id());
            assert_ne!(one.effect_id("g", 0, 0), one.effect_id("g", 0, 1));
            assert_ne!(one.effect_id("g", 0, 0), one.effect_id("g", 1, 0));
            assert_ne!(one.effect_id("g", 0, 0), one.effect_id("h", 0, 0));
            assert_ne!(one.effect_id("g", 0, 1), one.effect_id("g", 1, 0));
            assert_ne!(one.effect_id("g", 0, 128), one.effect_id("g", 0, 1));
            assert_ne!(one.effect_id("g", 0, 97), one.effect_id("ag", 0, 0));
            for other in events.iter().skip(index + 1) {
                assert_ne!(one.identity(), other.identity(), "{one:?} {other:?}");
                assert_ne!(one.effect_id("g", 0, 0), other.effect_id("g", 0, 0));
            }
        }
    }
}
