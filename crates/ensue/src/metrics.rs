//! Counters for everything that moves, per group.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// The counters of one group, live.
        #[derive(Debug, Default)]
        pub(crate) struct GroupCounters {
            $(pub(crate) $name: AtomicU64,)+
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
    /// Events handed back to wait behind a blocked key.
    parked,
    /// Attempts that took longer than their timeout.
    timed_out,
    /// Attempts that panicked.
    panicked,
    /// Events appended or scheduled as effects.
    published,
    /// Commits.
    commits,
    /// Times the member was replaced and joined again.
    rejoined,
}

impl GroupCounters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
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

    /// The counters in the Prometheus text exposition format 0.0.4.
    pub fn to_prometheus(&self) -> String {
        let groups = self.groups();
        let mut text = String::new();
        for (index, (name, help)) in HELP.iter().enumerate() {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "# HELP ensue_{name}_total{help}");
            let _ = writeln!(text, "# TYPE ensue_{name}_total counter");
            for (group, metrics) in &groups {
                let value = metrics.values().get(index).copied().unwrap_or_default();
                let _ = writeln!(text, "ensue_{name}_total{{group=\"{group}\"}} {value}");
            }
        }
        text
    }

    pub(crate) fn group(&self, name: &str) -> Arc<GroupCounters> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry(name.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
