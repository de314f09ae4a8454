//! A group's state: cells of bytes, each for one topic, key and name.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::CellWrite;
use crate::engine::READ_EVENTS_MAX;

/// What a cell costs beside its texts and its value, in bytes, for `state_bytes_max`.
const CELL_BYTES: usize = 64;

type Name = (Box<str>, Box<str>, Box<str>);

#[derive(Hash)]
struct NameRef<'a>(&'a str, &'a str, &'a str);

impl hashbrown::Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        *self.0 == *name.0 && *self.1 == *name.1 && *self.2 == *name.2
    }
}

/// How many pieces the cells of a group are kept in. A checkpoint shares the pieces, and a write
/// to one of them meanwhile copies that one only.
const PIECES: usize = 64;

type Piece = HashMap<Name, Bytes, foldhash::fast::RandomState>;

/// All cells of a group. Cloning copies [`PIECES`] pointers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyedState {
    pieces: Vec<Arc<Piece>>,
    bytes: usize,
}

impl Default for KeyedState {
    fn default() -> Self {
        let pieces = vec![Arc::default(); PIECES];
        Self { pieces, bytes: 0 }
    }
}

impl KeyedState {
    pub(crate) fn get(&self, topic: &str, key: &str, name: &str) -> Option<&Bytes> {
        let name = NameRef(topic, key, name);
        self.pieces.get(name.piece())?.get(&name)
    }

    pub(crate) fn write(&mut self, cell: &CellWrite) {
        let name = NameRef(&cell.topic, &cell.key, &cell.name);
        let Some(piece) = self.pieces.get_mut(name.piece()) else {
            return; // Not reached: there are PIECES pieces.
        };
        let piece = Arc::make_mut(piece);
        if let Some((name, old)) = piece.remove_entry(&name) {
            self.bytes -= size(name.0.len() + name.1.len() + name.2.len(), &old);
        }
        if let Some(value) = &cell.value {
            self.bytes += cell_bytes(cell);
            let name = (
                cell.topic.as_str().into(),
                cell.key.as_str().into(),
                cell.name.as_str().into(),
            );
            piece.insert(name, value.clone());
        }
    }

    /// How many bytes more there are when `cells` are written in this order; 0 when there are as
    /// many or fewer.
    pub(crate) fn growth(&self, cells: &[CellWrite]) -> usize {
        let mut seen = HashSet::<_, foldhash::fast::RandomState>::default();
        let (mut more, mut less) = (0, 0);
        // The last write of a cell is what is there in the end.
        for cell in cells.iter().rev() {
            if seen.insert((&*cell.topic, &*cell.key, &*cell.name)) {
                more += cell_bytes(cell);
                less += self
                    .get(&cell.topic, &cell.key, &cell.name)
                    .map_or(0, |old| {
                        size(cell.topic.len() + cell.key.len() + cell.name.len(), old)
                    });
            }
        }
        more.saturating_sub(less)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = CellWrite> {
        let cells = self.pieces.iter().flat_map(|piece| piece.iter());
        cells.map(|((topic, key, name), value)| CellWrite {
            topic: topic.to_string(),
            key: key.to_string(),
            name: name.to_string(),
            value: Some(value.clone()),
        })
    }

    /// The cells called `name` of the first up to `limit` keys of a topic behind `after`, by key; 0 and
    /// more than [`READ_EVENTS_MAX`] is that many. Looks at all cells, and keeps no more than it returns.
    pub(crate) fn page(
        &self,
        topic: &str,
        name: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, Bytes)> {
        let limit = match limit {
            0 => READ_EVENTS_MAX,
            limit => limit.min(READ_EVENTS_MAX),
        };
        let mut first: BTreeMap<&str, &Bytes> = BTreeMap::new();
        for ((its_topic, key, its_name), value) in self.pieces.iter().flat_map(|it| it.iter()) {
            if **its_topic != *topic
                || **its_name != *name
                || after.is_some_and(|after| **key <= *after)
            {
                continue;
            }
            let is_full = first.len() == limit;
            if is_full
                && first
                    .last_key_value()
                    .is_some_and(|(last, _)| **key > **last)
            {
                continue;
            }
            first.insert(key, value);
            if is_full {
                first.pop_last();
            }
        }
        let cells = first.into_iter();
        cells
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// What they take, for `state_bytes_max`.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl NameRef<'_> {
    fn piece(&self) -> usize {
        let hash = foldhash::quality::FixedState::default().hash_one(self);
        // Less than PIECES, which fits.
        (hash % PIECES as u64) as usize
    }
}

/// What a cell takes once it is written.
pub(crate) fn cell_bytes(cell: &CellWrite) -> usize {
    let value = cell.value.as_ref();
    value.map_or(0, |value| {
        size(cell.topic.len() + cell.key.len() + cell.name.len(), value)
    })
}

fn size(texts: usize, value: &Bytes) -> usize {
    CELL_BYTES + texts + value.len()
}

impl Serialize for KeyedState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for KeyedState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cells = Self::default();
        for cell in Vec::<CellWrite>::deserialize(deserializer)? {
            cells.write(&cell);
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_first_keys_of_one_topic_and_name_in_order() {
        let mut cells = KeyedState::default();
        let mut write = |topic: &str, key: &str, name: &str| {
            cells.write(&CellWrite {
                topic: topic.to_owned(),
                key: key.to_owned(),
                name: name.to_owned(),
                value: Some(Bytes::copy_from_slice(key.as_bytes())),
            });
        };
        for number in (0..50).rev() {
            write("orders", &format!("o-{number:02}"), "total");
        }
        write("bills", "o-001", "total");
        write("orders", "o-002", "other");
        let keys = |after: Option<&str>, limit| -> Vec<String> {
            let page = cells.page("orders", "total", after, limit);
            assert!(page.iter().all(|(key, value)| *value == *key.as_bytes()));
            page.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(None, 3), ["o-00", "o-01", "o-02"]);
        assert_eq!(keys(Some("o-02"), 2), ["o-03", "o-04"]);
        assert_eq!(keys(Some("o-48"), 5), ["o-49"]);
        assert_eq!(keys(None, 0).len(), 50);
        assert!(keys(Some("p"), 0).is_empty());
    }
}
