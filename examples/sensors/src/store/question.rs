//! What can be asked of the readings.

use std::fmt::Write as _;

use ensue::Timestamp;
use serde::{Deserialize, Serialize};

/// Which readings: those of a device, from a time on, before a time; all if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Of this device.
    pub device: Option<String>,
    /// Measured then or later.
    pub from: Option<Timestamp>,
    /// Measured before.
    pub to: Option<Timestamp>,
}

impl Question {
    /// The condition, and how many values are bound in it: device, from, to, as far as they are there.
    pub(super) fn condition(&self) -> (String, usize) {
        let mut text = String::new();
        let mut count = 0;
        for (is_there, column) in [
            (self.device.is_some(), "device = "),
            (self.from.is_some(), "measured_at >= "),
            (self.to.is_some(), "measured_at < "),
        ] {
            if is_there {
                count += 1;
                let word = if count == 1 { "WHERE" } else { "AND" };
                // Writing into a text does not fail.
                let _ = write!(text, " {word} {column}${count}");
            }
        }
        (text, count)
    }
}

/// A piece of time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bucket {
    /// Sixty seconds.
    Minute,
    /// Sixty minutes.
    Hour,
    /// Twenty-four hours.
    Day,
}

impl Bucket {
    pub(super) fn micros(self) -> i64 {
        let seconds = match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        };
        seconds * 1_000_000
    }
}

/// A reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Who measured it.
    pub device: String,
    /// Its number there.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

/// What a device has measured last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastValue {
    /// Its number.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

/// The readings of one device in one piece of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Aggregate {
    /// Who measured them.
    pub device: String,
    /// When the piece begins.
    pub from: Timestamp,
    /// How many there are.
    pub readings: u64,
    /// The smallest value.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The mean, as the database computes it.
    pub mean: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_what_was_asked() {
        let mut question = Question::default();
        assert_eq!(question.condition(), (String::new(), 0));
        question.to = Some(Timestamp::from_micros(1));
        assert_eq!(question.condition().0, " WHERE measured_at < $1");
        question.device = Some("d".into());
        let both = " WHERE device = $1 AND measured_at < $2".to_owned();
        assert_eq!(question.condition(), (both, 2));
    }
}
