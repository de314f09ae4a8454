//! What the members of groups ask for that are clients of this server.
//!
//! A group has one subscription. The engine gives its members what the last one to join asked for, and passes
//! over everything else, for good. So a client that asks for less than the others would take events away from
//! them in silence, and is refused. One that asks for more may join: a new version of a program is deployed
//! beside the old one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue::TopicPattern;
use ensue::engine::Subscription;
use serde_json::json;

use crate::problem::{Code, Problem};

/// The subscriptions of all groups that have such members. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Subscriptions {
    groups: Arc<Mutex<HashMap<String, Vec<Arc<Wanted>>>>>,
    joining: Arc<tokio::sync::Mutex<()>>,
    timeout: Duration,
}

/// What one member asks for.
#[derive(Debug)]
struct Wanted {
    topics: Vec<TopicPattern>,
    /// Every type without.
    types: Option<Vec<String>>,
}

/// A member's subscription, until this is dropped.
#[derive(Debug)]
pub(crate) struct Subscribed {
    subscriptions: Subscriptions,
    group: String,
    wanted: Arc<Wanted>,
}

/// The turn to join: kept until the engine has the member, so that the last one in the engine is the last one here.
pub(crate) type JoinTurn = tokio::sync::OwnedMutexGuard<()>;

impl Subscriptions {
    /// `timeout` is how long a join may wait for others.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            groups: Arc::default(),
            joining: Arc::default(),
            timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Wanted>>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a member asks for, before it joins. Refused when it would take events away from others.
    pub(crate) async fn subscribe(
        &self,
        subscription: &Subscription,
    ) -> Result<(Subscribed, JoinTurn), Problem> {
        let turn = tokio::time::timeout(self.timeout, self.joining.clone().lock_owned()).await;
        let turn = turn.map_err(|_| {
            let detail = "other members are joining; try again in a moment";
            Problem::new(Code::Overloaded, detail)
        })?;
        let wanted = Arc::new(Wanted {
            topics: subscription.topics.clone(),
            types: subscription.types.clone(),
        });
        let group = subscription.group.clone();
        let mut groups = self.lock();
        let members = groups.entry(group.clone()).or_default();
        if let Some(other) = members.iter().find(|other| !wanted.covers(other)) {
            return Err(refused(&group, &wanted, other));
        }
        members.push(wanted.clone());
        drop(groups);
        let subscriptions = self.clone();
        let subscribed = Subscribed {
            subscriptions,
            group,
            wanted,
        };
        Ok((subscribed, turn))
    }
}

impl Wanted {
    /// Whether everything that the other one asks for is asked for here, too.
    fn covers(&self, other: &Self) -> bool {
        let has_topic = |wanted: &TopicPattern| self.topics.iter().any(|own| own.covers(wanted));
        let has_types = match (&self.types, &other.types) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|it| own.contains(it)),
        };
        has_types && other.topics.iter().all(has_topic)
    }

    fn topics(&self) -> Vec<&str> {
        self.topics.iter().map(TopicPattern::as_str).collect()
    }
}

fn refused(group: &str, wanted: &Wanted, other: &Wanted) -> Problem {
    let said = |wanted: &Wanted| {
        let topics = wanted.topics().join(", ");
        match &wanted.types {
            None => format!("{topics} (every type)"),
            Some(types) => format!("{topics} ({})", types.join(", ")),
        }
    };
    let detail = format!(
        "members of the group `{group}` ask for {}, and the join for {}: a group has one subscription, that of the \
         last one to join, so that they would not get the rest any more; ask for all of it, join when they have \
         left, or join a group of another name",
        said(other),
        said(wanted)
    );
    let list = |wanted: &Wanted| json!({ "topics": wanted.topics(), "types": wanted.types });
    Problem::new(Code::OtherSubscription, detail)
        .with("wanted", list(wanted))
        .with("members", list(other))
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let mut groups = self.subscriptions.lock();
        let Some(members) = groups.get_mut(&self.group) else {
            return;
        };
        members.retain(|other| !Arc::ptr_eq(other, &self.wanted));
        if members.is_empty() {
            groups.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue::Start;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn subscription(topics: &[&str], types: Option<&[&str]>) -> Subscription {
        Subscription {
            group: "g".to_owned(),
            topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
            types: types.map(|types| types.iter().map(|it| (*it).to_owned()).collect()),
            start: Start::Earliest,
            in_flight_max: 1,
        }
    }

    #[tokio::test]
    async fn a_member_may_ask_for_more_than_the_others_and_not_for_less() {
        for (first, second, is_taken) in [
            (&["a"][..], &["a"][..], true),
            (&["a"], &["a", "b"], true),
            (&["a", "b"], &["a"], false),
            (&["a"], &["b"], false),
            (&["a.b", "a.c"], &["a.*"], true),
            (&["a.*"], &["a.b"], false),
            (&["a", "b.c"], &[">"], true),
        ] {
            let subscriptions = Subscriptions::new(TIMEOUT);
            let (first, turn) = subscriptions
                .subscribe(&subscription(first, None))
                .await
                .unwrap();
            drop(turn);
            let found = subscriptions.subscribe(&subscription(second, None)).await;
            assert_eq!(found.is_ok(), is_taken, "{first:?} {second:?}");
        }
        for (first, second, is_taken) in [
            (None, Some(&["t"][..]), false),
            (Some(&["t"][..]), None, true),
            (Some(&["t"]), Some(&["t", "u"]), true),
            (Some(&["t", "u"]), Some(&["t"]), false),
        ] {
            let subscriptions = Subscriptions::new(TIMEOUT);
            let first = subscriptions.subscribe(&subscription(&["a"], first)).await;
            let (_first, turn) = first.unwrap();
            drop(turn);
            let found = subscriptions.subscribe(&subscription(&["a"], second)).await;
            assert_eq!(found.is_ok(), is_taken, "{second:?}");
        }
    }

    #[tokio::test]
    async fn who_has_left_is_asked_no_more() {
        let subscriptions = Subscriptions::new(TIMEOUT);
        let (first, turn) = subscriptions
            .subscribe(&subscription(&["a"], None))
            .await
            .unwrap();
        drop(turn);
        let refused = subscriptions.subscribe(&subscription(&["b"], None)).await;
        assert_eq!(refused.unwrap_err().code(), Code::OtherSubscription);
        drop(first);
        let second = subscriptions.subscribe(&subscription(&["b"], None)).await;
        drop(second.unwrap());
        assert!(subscriptions.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_joins_at_a_time_and_is_not_waited_for_without_end() {
        let subscriptions = Subscriptions::new(TIMEOUT);
        let first = subscriptions.subscribe(&subscription(&["a"], None)).await;
        let (_first, turn) = first.unwrap();
        let second = subscriptions.subscribe(&subscription(&["a"], None)).await;
        assert_eq!(second.unwrap_err().code(), Code::Overloaded);
        drop(turn);
        subscriptions
            .subscribe(&subscription(&["a"], None))
            .await
            .unwrap();
    }
}
