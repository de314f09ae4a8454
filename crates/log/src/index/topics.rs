//! Which records of a segment are of which topic and kind.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::bitmap::Bitmap;

/// The records of one topic and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicRecords {
    pub(crate) kind: u8,
    pub(crate) name: Arc<str>,
    pub(crate) records: Bitmap,
}

/// All topics, in the order in which they first appear.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    list: Vec<TopicRecords>,
    numbers: HashMap<(u8, Arc<str>), u32>,
    /// Most records have the topic of the one before.
    latest: u32,
}

impl Topics {
    /// Adds the next record; tells the number of its topic.
    pub(crate) fn push(&mut self, kind: u8, name: &str, ordinal: u32) -> u32 {
        let number = self.number(kind, name);
        if let Some(topic) = self.list.get_mut(number as usize) {
            topic.records.push(ordinal);
        }
        self.latest = number;
        number
    }

    fn number(&mut self, kind: u8, name: &str) -> u32 {
        if let Some(latest) = self.list.get(self.latest as usize)
            && latest.kind == kind
            && *latest.name == *name
        {
            return self.latest;
        }
        if let Some(number) = self.numbers.get(&Name(kind, name) as &Name<'_>) {
            return *number;
        }
        let number = self.list.len() as u32;
        let name: Arc<str> = name.into();
        self.numbers.insert((kind, name.clone()), number);
        self.list.push(TopicRecords {
            kind,
            name,
            records: Bitmap::default(),
        });
        number
    }

    pub(crate) fn get(&self, number: u32) -> Option<&TopicRecords> {
        self.list.get(number as usize)
    }

    pub(crate) fn list(&self) -> &[TopicRecords] {
        &self.list
    }
}

/// The topics that are wanted and have records among `ordinals`, and which.
pub(crate) fn part(
    topics: &[TopicRecords],
    ordinals: &Range<u32>,
    wanted: &dyn Fn(u8, &str) -> bool,
) -> Vec<TopicRecords> {
    let wanted = topics
        .iter()
        .filter(|topic| wanted(topic.kind, &topic.name));
    let part = wanted.map(|topic| TopicRecords {
        kind: topic.kind,
        name: Arc::clone(&topic.name),
        records: topic.records.part(ordinals),
    });
    part.filter(|topic| !topic.records.is_empty()).collect()
}

/// How many records of `kind` each topic has among `ordinals`, if it has any.
pub(crate) fn counts<'a>(
    topics: &'a [TopicRecords],
    kind: u8,
    ordinals: &'a Range<u32>,
) -> impl Iterator<Item = (&'a Arc<str>, u64)> {
    let of_kind = topics.iter().filter(move |topic| topic.kind == kind);
    let counts = of_kind.map(|topic| (&topic.name, topic.records.count(ordinals)));
    counts.filter(|(_, count)| *count > 0)
}

/// A borrowed key of `numbers`.
#[derive(Hash)]
struct Name<'a>(u8, &'a str);

impl hashbrown::Equivalent<(u8, Arc<str>)> for Name<'_> {
    fn equivalent(&self, key: &(u8, Arc<str>)) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}
