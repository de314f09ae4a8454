//! Counters for everything that moves, per group.

mod prometheus;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

pub use self::prometheus::PrometheusText;
use crate::error::Error;
use crate::time::Timestamp;

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// The counters of one group, live.
        #[derive(Debug, Default)]
        pub(crate) struct GroupCounters {
            $(pub(crate) $name: AtomicU64,)+
            waiting: Waiting,
        }

        /// The counters of one group at one moment, since the app started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct GroupMetrics {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl GroupCounters {
            fn snapshot(&self) -> GroupMetrics {
                GroupMetrics { $($name: self.$name.load(Relaxed),)+ }
            }
        }

        const HELP: &[(&str, &str)] = &[$((stringify!($name), concat!($($help),+)),)+];

        impl GroupMetrics {
            fn values(&self) -> Vec<u64> {
                vec![$(self.$name,)+]
            }
        }
    };
}

counters! {
    /// Events taken from the engine, further attempts included.
    delivered,
    /// Events whose handler succeeded.
    handled,
    /// Attempts that failed and will be followed by another.
    retried,
    /// Events that became dead letters.
    dead,
    /// Requests that were answered with a refusal.
    turned_down,
    /// Events handed back to wait behind a blocked key.
    parked,
    /// Attempts that took longer than their timeout.
    timed_out,
    /// Attempts that panicked.
    panicked,
    /// Events appended or scheduled as effects.
    published,
    /// Effects that were dropped because their id names another event.
    dropped,
    /// Effects of events that were handled again after a reset, and not published again.
    held_back,
    /// Commits.
    commits,
    /// Times the member was replaced and joined again.
    rejoined,
    /// Commits that the engine refused for good: each was taken apart, and what was refused alone
    /// became a dead letter.
    refused,
    /// Keys that stopped, because not even a failure of theirs could be committed.
    stuck,
}

/// Something that a group asks of its engine again and again.
#[derive(Debug, Default)]
struct Waiting {
    /// Lets the common case, a group that waits for nothing, pass without the lock.
    is_any: AtomicBool,
    /// By what is asked: since when, and what the engine says.
    what: Mutex<BTreeMap<&'static str, (Timestamp, String)>>,
}

impl GroupCounters {
    /// The engine refused something for now; it is asked again.
    pub(crate) fn waits(&self, what: &'static str, error: &Error, now: Timestamp) {
        let mut waiting = self.waiting.lock();
        let since = waiting.get(what).map_or(now, |(since, _)| *since);
        waiting.insert(what, (since, error.to_string()));
        self.waiting.is_any.store(true, Relaxed);
    }

    /// The engine did what it was asked.
    pub(crate) fn goes_on(&self, what: &'static str) {
        if self.waiting.is_any.load(Relaxed) {
            let mut waiting = self.waiting.lock();
            waiting.remove(what);
            self.waiting.is_any.store(!waiting.is_empty(), Relaxed);
        }
    }

    /// Adds to a counter; gives what it was before.
    pub(crate) fn add(counter: &AtomicU64, count: usize) -> u64 {
        counter.fetch_add(count as u64, Relaxed)
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (Timestamp, String)>> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> Option<String> {
        let waiting = self.lock();
        let text = |(what, (since, error)): (&&str, &(Timestamp, String))| {
            format!("cannot {what} since {since}, retrying: {error}")
        };
        let texts: Vec<String> = waiting.iter().map(text).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// The counters of an app. Cloning gives the same counters.
///
/// ```
/// # use ensue::prelude::*;
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let app = App::new(ensue::connect("memory:").await?);
/// let metrics = app.metrics();
/// assert!(metrics.groups().is_empty());
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<String, Arc<GroupCounters>>>>);

impl Metrics {
    /// The counters of every group, by name.
    pub fn groups(&self) -> BTreeMap<String, GroupMetrics> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .iter()
            .map(|(name, counters)| (name.clone(), counters.snapshot()))
            .collect()
    }

    /// The groups whose engine refuses something for now, and what they wait for: a full disk, a
    /// server that is away. They go on by themselves.
    pub fn waiting(&self) -> BTreeMap<String, String> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .iter()
            .filter_map(|(name, counters)| Some((name.clone(), counters.waiting.text()?)))
            .collect()
    }

    /// The counters in the Prometheus text exposition format 0.0.4.
    pub fn to_prometheus(&self) -> String {
        let groups = self.groups();
        let mut text = PrometheusText::default();
        for (index, (name, help)) in HELP.iter().enumerate() {
            let name = format!("ensue_{name}_total");
            text.family(&name, "counter", help.trim());
            for (group, metrics) in &groups {
                let value = metrics.values().get(index).copied().unwrap_or_default();
                text.sample(&name, &[("group", group)], value);
            }
        }
        let waiting = self.waiting();
        let help = "Whether the group waits for its engine, which refuses something for now.";
        text.family("ensue_waiting", "gauge", help);
        for group in groups.keys() {
            let value = u8::from(waiting.contains_key(group));
            text.sample("ensue_waiting", &[("group", group)], value);
        }
        text.finish()
    }

    pub(crate) fn group(&self, name: &str) -> Arc<GroupCounters> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry(name.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EngineError;

    #[test]
    fn what_a_group_waits_for_is_told_until_it_goes_on() {
        let metrics = Metrics::default();
        let group = metrics.group("payments");
        let second = Timestamp::from_micros(1_000_000);
        group.waits(
            "commit",
            &Error::Engine(EngineError::DiskFull("1".into())),
            Timestamp::EPOCH,
        );
        group.waits(
            "commit",
            &Error::Engine(EngineError::DiskFull("2".into())),
            second,
        );
        let waiting = metrics.waiting()["payments"].clone();
        assert!(waiting.contains("since 1970-01-01T00:00:00Z"), "{waiting}");
        assert!(waiting.contains("disk is full: 2"), "{waiting}");
        let gauge = "ensue_waiting{group=\"payments\"} ";
        assert!(metrics.to_prometheus().contains(&format!("{gauge}1")));
        group.goes_on("take events");
        assert_eq!(metrics.waiting().len(), 1);
        group.goes_on("commit");
        assert!(metrics.waiting().is_empty());
        assert!(metrics.to_prometheus().contains(&format!("{gauge}0")));
    }

    #[test]
    fn the_name_of_a_group_cannot_end_its_label() {
        let metrics = Metrics::default();
        metrics.group("a\"b\\c\nd");
        let text = metrics.to_prometheus();
        let label = r#"{group="a\"b\\c\nd"}"#;
        assert!(
            text.contains(&format!("ensue_handled_total{label} 0\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("ensue_waiting{label} 0\n")),
            "{text}"
        );
    }

    #[test]
    fn counters_are_exposed_by_group() {
        let metrics = Metrics::default();
        GroupCounters::add(&metrics.group("payments").handled, 3);
        assert_eq!(metrics.groups()["payments"].handled, 3);
        let text = metrics.to_prometheus();
        assert!(
            text.contains("ensue_handled_total{group=\"payments\"} 3"),
            "{text}"
        );
        assert!(text.contains("# HELP ensue_handled_total Events whose handler succeeded."));
    }
}
