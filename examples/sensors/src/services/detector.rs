//! What is usual for a device, learned from what it has measured; no clock and no chance, so that the same readings
//! give the same findings.
//!
//! Values: mean and variance, weighted towards what is new (each reading counts for 1/[`MEMORY`]). After
//! [`WARM_UP`] readings, a value that is [`FAR`] standard deviations from the mean is an anomaly. The alarm is over
//! when [`CALM`] readings in a row are nearer than [`NEAR`]: between the two thresholds nothing changes, so that
//! a value which trembles around one of them raises one alarm and not a hundred.
//!
//! Times: the mean time between readings, weighted in the same way. Nothing for [`SILENT`] times as long is silence.

use std::time::Duration;

use ensue::Timestamp;
use serde::{Deserialize, Serialize};

/// How many readings it takes until something is usual.
const WARM_UP: u64 = 30;
/// How many readings what is usual goes back.
const MEMORY: f64 = 32.0;
/// So many standard deviations from the mean raise an alarm,
const FAR: f64 = 6.0;
/// and fewer than so many let it end,
const NEAR: f64 = 3.0;
/// after so many readings in a row.
const CALM: u32 = 5;
/// A standard deviation is at least so much of the mean, and at least so much: a device that has always said the
/// same may say something else.
const DEVIATION_MIN: (f64, f64) = (0.005, 1e-6);
/// So many times the mean time between readings are silence.
const SILENT: u32 = 10;

/// What is usual for a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Detector {
    /// How many readings there were.
    count: u64,
    mean: f64,
    variance: f64,
    /// The last reading's time, if there was one.
    last: Option<Timestamp>,
    /// How many times between readings there were, and their mean in microseconds.
    intervals: u64,
    interval: f64,
    alarm: Option<Alarm>,
}

/// An anomaly that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Alarm {
    since: Timestamp,
    calm: u32,
}

/// What a reading tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing was measured since then, for too long.
    WasSilent { since: Timestamp },
    /// The value is far from what is usual.
    Anomaly,
    /// The values are as usual again; they were not since then.
    Usual { since: Timestamp },
}

impl Detector {
    /// Looks at the next reading.
    pub(super) fn look(&mut self, at: Timestamp, value: f64) -> Vec<Finding> {
        let silent = self.time(at);
        let unusual = self.value(at, value);
        silent.into_iter().chain(unusual).collect()
    }

    fn time(&mut self, at: Timestamp) -> Option<Finding> {
        let since = self.last?;
        // Readings may stand in any order in a recording: then no time has passed.
        let passed = at.since(since);
        self.intervals += 1;
        let usual = Duration::from_micros(self.interval.max(0.0) as u64);
        let is_known = self.intervals > WARM_UP && !usual.is_zero();
        let micros = passed.as_micros() as f64;
        self.interval += (micros - self.interval) * weight(self.intervals);
        (is_known && passed > usual * SILENT).then_some(Finding::WasSilent { since })
    }

    fn value(&mut self, at: Timestamp, value: f64) -> Option<Finding> {
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        let off = finite(value - self.mean);
        let (relative, absolute) = DEVIATION_MIN;
        let deviation = self.variance.sqrt().max(self.mean.abs() * relative);
        let distance = off.abs() / deviation.max(absolute);
        let is_known = self.count >= WARM_UP;
        self.count += 1;
        let weight = weight(self.count);
        self.mean = finite(self.mean + off * weight);
        self.variance = finite((1.0 - weight) * (self.variance + finite(off * off * weight)));
        match &mut self.alarm {
            None if is_known && distance >= FAR => {
                self.alarm = Some(Alarm { since: at, calm: 0 });
                Some(Finding::Anomaly)
            }
            None => None,
            Some(alarm) => {
                alarm.calm = if distance < NEAR { alarm.calm + 1 } else { 0 };
                let since = alarm.since;
                let is_over = alarm.calm >= CALM;
                is_over.then(|| {
                    self.alarm = None;
                    Finding::Usual { since }
                })
            }
        }
    }
}

/// What the newest of so many counts for: as much as each before it, until there are enough.
fn weight(count: u64) -> f64 {
    (1.0 / count as f64).max(1.0 / MEMORY)
}

/// Values may be as large as numbers can be.
fn finite(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// What is found in readings, one a minute, and at which of them.
    fn findings(values: impl IntoIterator<Item = f64>) -> Vec<(usize, Finding)> {
        let mut detector = Detector::default();
        let values = values.into_iter().enumerate();
        let found = values.flat_map(|(number, value)| {
            let found = detector.look(at(number as i64 * 60), value);
            found.into_iter().map(move |finding| (number, finding))
        });
        found.collect()
    }

    fn usual(number: usize) -> f64 {
        50.0 + (number % 7) as f64 / 10.0
    }

    #[test]
    fn a_step_is_one_anomaly_and_becomes_usual() {
        let values =
            (0..400).map(|number| usual(number) + f64::from(u8::from(number >= 100)) * 30.0);
        let found = findings(values);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], (100, Finding::Anomaly));
        assert_eq!(found[1].1, Finding::Usual { since: at(6_000) });
    }

    #[test]
    fn what_trembles_around_the_threshold_is_one_alarm() {
        let values = (0..140).map(|number| match number {
            100..130 if number % 2 == 0 => 60.0,
            _ => usual(number),
        });
        let raised = findings(values);
        let raised = raised.iter().filter(|(_, it)| *it == Finding::Anomaly);
        assert_eq!(raised.count(), 1);
    }

    #[test]
    fn nothing_is_unusual_before_something_is_usual() {
        assert_eq!(findings([1.0, 1e9, -1e9, 3.0]), []);
        assert_eq!(findings((0..500).map(usual)), []);
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let values = (0..200).map(|number| if number % 2 == 0 { f64::MAX } else { f64::MIN });
        let mut detector = Detector::default();
        for (number, value) in values.enumerate() {
            detector.look(at(number as i64), value);
            assert!(detector.mean.is_finite() && detector.variance.is_finite());
        }
    }

    #[test]
    fn a_pause_is_silence_since_the_reading_before_it() {
        let mut detector = Detector::default();
        let times = (0..100).map(|number| number * 60 + i64::from(number >= 80) * 3_600);
        let found: Vec<_> = times
            .flat_map(|second| detector.look(at(second), 1.0))
            .collect();
        assert_eq!(found, [Finding::WasSilent { since: at(79 * 60) }]);
    }

    #[test]
    fn times_that_are_equal_or_go_back_are_no_silence() {
        let mut detector = Detector::default();
        for second in [0, 0, 0, 60, 30, 60].into_iter().cycle().take(300) {
            assert_eq!(detector.look(at(second), 1.0), []);
        }
    }
}
