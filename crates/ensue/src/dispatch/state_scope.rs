//! Notices a service that expects the events of several topics to share a cell of state.

use std::sync::{PoisonError, RwLock};

use hashbrown::HashMap;

use crate::service::Handler;

/// How many cells are watched, by name: names that are made at run time may be many.
const NAMES_MAX: usize = 256;

/// Which handler used a cell of state first, by the cell's name.
///
/// State belongs to group, topic and key. A handler of `orders` and one of `payments` that use one name
/// have two cells, and each silently reads nothing of what the other sets. That can be meant, so it is a
/// warning, given once for each name.
#[derive(Debug, Default)]
pub(crate) struct StateScope(RwLock<HashMap<Box<str>, Use>>);

#[derive(Debug)]
struct Use {
    handler: &'static str,
    topics: Box<str>,
    has_warned: bool,
}

impl StateScope {
    /// Notes that `handler` uses the cell `name`. Gives the warning when it is the first that takes
    /// other topics than the one that used it before.
    pub(super) fn note(&self, group: &str, handler: &Handler, name: &str) -> Option<String> {
        let topics = handler.topics().as_str();
        let uses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match uses.get(name) {
            Some(first) if first.has_warned || *first.topics == *topics => return None,
            None if uses.len() >= NAMES_MAX => return None,
            _ => {}
        }
        drop(uses);
        let mut uses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let first = uses.entry(name.into()).or_insert_with(|| Use {
            handler: handler.name(),
            topics: topics.into(),
            has_warned: false,
        });
        if first.has_warned || *first.topics == *topics {
            return None;
        }
        first.has_warned = true;
        Some(format!(
            "`{group}.{}` (of `{}`) and `{group}.{}` (of `{topics}`) use the state `{name}`: state \
             belongs to group, topic and key, so neither reads what the other sets; give the two \
             cells different names, or keep the state with the events of one topic",
            first.handler,
            first.topics,
            handler.name(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Envelope;
    use crate::service::{Context, HandlerOptions};

    fn handler(name: &'static str, topics: &str) -> Handler {
        let (topics, options) = (topics.parse().unwrap(), HandlerOptions::default());
        let handle = |_: Envelope, _: Context| async {};
        Handler::raw(name, topics, None, options, handle)
    }

    #[test]
    fn a_cell_that_handlers_of_two_topics_use_is_warned_of_once_with_their_names() {
        let scope = StateScope::default();
        let (orders, payments) = (handler("placed", "orders"), handler("paid", "payments"));
        let again = handler("cancelled", "orders");
        assert_eq!(scope.note("shop", &orders, "total"), None);
        assert_eq!(scope.note("shop", &again, "total"), None);
        assert_eq!(scope.note("shop", &payments, "other"), None);
        let warning = scope.note("shop", &payments, "total").unwrap();
        for part in [
            "shop.placed",
            "`orders`",
            "shop.paid",
            "`payments`",
            "`total`",
        ] {
            assert!(warning.contains(part), "{warning}");
        }
        for handler in [&orders, &payments] {
            assert_eq!(scope.note("shop", handler, "total"), None);
        }
    }

    #[test]
    fn names_that_are_made_at_run_time_take_no_more_than_their_room() {
        let scope = StateScope::default();
        let orders = handler("placed", "orders");
        for number in 0..2 * NAMES_MAX {
            assert_eq!(scope.note("shop", &orders, &number.to_string()), None);
        }
        assert_eq!(scope.0.read().unwrap().len(), NAMES_MAX);
    }
}
