//! What became of telemetry, for Prometheus: what sends telemetry cannot be asked whether it does.

use std::sync::atomic::Ordering::Relaxed;

use ensue::PrometheusText;

use crate::queue::{Counts, Queue};

/// A signal and its queue.
pub(crate) struct Signal<'a> {
    name: &'static str,
    counts: &'a Counts,
    waiting: usize,
}

impl<'a> Signal<'a> {
    pub(crate) fn of<T: Send + 'static>(name: &'static str, queue: &'a Queue<T>) -> Self {
        Self {
            name,
            counts: queue.counts(),
            waiting: queue.len(),
        }
    }
}

pub(crate) fn write(text: &mut PrometheusText, signals: &[Signal<'_>]) {
    let name = "ensue_telemetry_exported_total";
    text.family(
        name,
        "counter",
        "Spans and log records that the collector took.",
    );
    for signal in signals {
        let count = signal.counts.exported.load(Relaxed);
        text.sample(name, &[("signal", signal.name)], count);
    }
    let name = "ensue_telemetry_dropped_total";
    let help = "Spans and log records that were dropped: there was no room, or the collector did not take them.";
    text.family(name, "counter", help);
    for signal in signals {
        for (reason, count) in [
            ("queue_full", &signal.counts.overflowed),
            ("export_failed", &signal.counts.failed),
        ] {
            let labels = [("signal", signal.name), ("reason", reason)];
            text.sample(name, &labels, count.load(Relaxed));
        }
    }
    let name = "ensue_telemetry_queue_length";
    text.family(name, "gauge", "Spans and log records that wait to be sent.");
    for signal in signals {
        text.sample(name, &[("signal", signal.name)], signal.waiting);
    }
}
