//! What the server counts of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ensue::PrometheusText;
use ensue::engine::Appended;

/// The upper bounds of the histogram of how long answers take, in milliseconds.
const BUCKETS_MS: [u64; 8] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000];

/// What the server counts of itself, since it was started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By the path of the route, and the status: both are from small fixed sets.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// One more than the buckets: the last is without a bound.
    durations: [AtomicU64; BUCKETS_MS.len() + 1],
    durations_us: AtomicU64,
    /// Connections that were taken, and those that were refused because there were too many.
    pub(crate) connections: AtomicU64,
    /// Those that are open.
    pub(crate) connections_open: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    /// Connections that could not be encrypted, or not in time.
    pub(crate) handshakes_failed: AtomicU64,
    /// Events that were appended or scheduled, and those that were duplicates.
    events: AtomicU64,
    duplicates: AtomicU64,
}

impl Counters {
    /// A request was answered. How long that `took` is left out where clients say how long to wait.
    pub(crate) fn answered(&self, route: &'static str, status: u16, took: Option<Duration>) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_default() += 1;
        drop(requests);
        let Some(took) = took else {
            return;
        };
        let bucket = BUCKETS_MS.partition_point(|max| u128::from(*max) < took.as_millis());
        if let Some(count) = self.durations.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.durations_us.fetch_add(micros, Relaxed);
    }

    /// Events are in the log, or scheduled.
    pub(crate) fn appended(&self, appended: &[Appended]) {
        let duplicates = appended.iter().filter(|it| it.is_duplicate).count();
        let events = appended.len() - duplicates;
        self.events.fetch_add(events as u64, Relaxed);
        self.duplicates.fetch_add(duplicates as u64, Relaxed);
    }

    pub(crate) fn write(&self, text: &mut PrometheusText) {
        let name = "ensue_http_requests_total";
        text.family(
            name,
            "counter",
            "Requests that were answered, by route and status.",
        );
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, status), count) in requests.iter() {
            let status = status.to_string();
            text.sample(name, &[("route", route), ("status", &status)], count);
        }
        drop(requests);
        self.write_durations(text);
        text.family(
            "ensue_http_connections",
            "gauge",
            "Connections that are open.",
        );
        let open = self.connections_open.load(Relaxed);
        text.sample("ensue_http_connections", &[], open);
        for (name, help, count) in [
            (
                "connections",
                "Connections that were taken.",
                &self.connections,
            ),
            (
                "connections_refused",
                "Connections that were refused because there were too many.",
                &self.connections_refused,
            ),
            (
                "handshakes_failed",
                "Connections that could not be encrypted, or not in time.",
                &self.handshakes_failed,
            ),
            (
                "events",
                "Events that were appended or scheduled.",
                &self.events,
            ),
            (
                "duplicates",
                "Events that were in the log already.",
                &self.duplicates,
            ),
        ] {
            let name = format!("ensue_http_{name}_total");
            text.family(&name, "counter", help);
            text.sample(&name, &[], count.load(Relaxed));
        }
    }

    fn write_durations(&self, text: &mut PrometheusText) {
        let name = "ensue_http_request_duration_seconds";
        text.family(
            name,
            "histogram",
            "How long answers take, in seconds, but for those that wait as clients ask them to.",
        );
        let bounds = BUCKETS_MS
            .iter()
            .map(|ms| (*ms as f64 / 1000.0).to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (bound, count) in bounds.zip(&self.durations) {
            total += count.load(Relaxed);
            text.sample(&format!("{name}_bucket"), &[("le", &bound)], total);
        }
        let sum = self.durations_us.load(Relaxed) as f64 / 1_000_000.0;
        text.sample(&format!("{name}_sum"), &[], sum);
        text.sample(&format!("{name}_count"), &[], total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_every_bucket_that_it_fits_into() {
        let counters = Counters::default();
        counters.answered("/v1/events", 200, Some(Duration::from_millis(1)));
        counters.answered("/v1/events", 200, Some(Duration::from_millis(30)));
        counters.answered("/v1/events", 503, Some(Duration::from_secs(100)));
        counters.answered("/v1/requests", 200, None);
        let mut text = PrometheusText::default();
        counters.write(&mut text);
        let text = text.finish();
        for line in [
            "ensue_http_requests_total{route=\"/v1/events\",status=\"200\"} 2",
            "ensue_http_requests_total{route=\"/v1/events\",status=\"503\"} 1",
            "ensue_http_request_duration_seconds_bucket{le=\"0.001\"} 1",
            "ensue_http_request_duration_seconds_bucket{le=\"0.1\"} 2",
            "ensue_http_request_duration_seconds_bucket{le=\"60\"} 2",
            "ensue_http_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "ensue_http_request_duration_seconds_count 3",
            "ensue_http_request_duration_seconds_sum 100.031",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }
}
