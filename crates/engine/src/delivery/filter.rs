//! Which events a group wants.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::group::Group;
use crate::topic::TopicPattern;

/// A cache of topics beyond this many is emptied: there may be millions of them.
const TOPICS_CACHED_MAX: usize = 4_096;

/// A group's topics and types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    topics: Vec<TopicPattern>,
    types: Option<Vec<String>>,
}

impl Filter {
    pub(crate) fn new(topics: Vec<TopicPattern>, types: Option<Vec<String>>) -> Self {
        Self { topics, types }
    }

    /// As the group says.
    pub(crate) fn of(group: &Group) -> Self {
        let types = group.types().map(<[String]>::to_vec);
        Self::new(group.topics().to_vec(), types)
    }

    pub(crate) fn wants_topic(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether there are types that it does not want.
    pub(crate) fn has_types(&self) -> bool {
        self.types.is_some()
    }

    pub(crate) fn wants_type(&self, kind: &str) -> bool {
        self.types
            .as_ref()
            .is_none_or(|types| types.iter().any(|wanted| wanted == kind))
    }
}

/// A filter that remembers what it said of a topic: matching a pattern takes longer than looking
/// up a name, and neighbours mostly share their topic.
#[derive(Debug)]
pub(crate) struct Memo {
    filter: Arc<Filter>,
    last: (String, bool),
    topics: HashMap<String, bool, foldhash::fast::RandomState>,
}

impl Memo {
    pub(crate) fn new(filter: Arc<Filter>) -> Self {
        let last = (String::new(), false);
        Self {
            filter,
            last,
            topics: HashMap::default(),
        }
    }

    /// What it remembers answers of.
    pub(crate) fn filter(&self) -> Arc<Filter> {
        self.filter.clone()
    }

    /// Uses `filter` from now on.
    pub(crate) fn set(&mut self, filter: &Arc<Filter>) {
        if !Arc::ptr_eq(&self.filter, filter) {
            *self = Self::new(filter.clone());
        }
    }

    pub(crate) fn wants_topic(&mut self, topic: &str) -> bool {
        if self.last.0 == topic {
            return self.last.1;
        }
        let wanted = match self.topics.get(topic) {
            Some(wanted) => *wanted,
            None => {
                let wanted = self.filter.wants_topic(topic);
                if self.topics.len() >= TOPICS_CACHED_MAX {
                    self.topics.clear();
                }
                self.topics.insert(topic.to_owned(), wanted);
                wanted
            }
        };
        topic.clone_into(&mut self.last.0);
        self.last.1 = wanted;
        wanted
    }

    pub(crate) fn wants_type(&self, kind: &str) -> bool {
        self.filter.wants_type(kind)
    }
}
