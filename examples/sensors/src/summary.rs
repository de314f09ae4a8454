//! What came of a run.

use serde::Serialize;

use crate::store::Totals;

/// The figures of all that is stored, and of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows of readings.
    pub readings: u64,
    /// Devices that have one.
    pub devices: u64,
    /// The smallest value; nothing where there are no readings.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// Numbers of readings that are missing.
    pub gaps: u64,
    /// Readings that came again.
    pub duplicates: u64,
    /// Readings that are no numbers, and rows of the recording that are no readings.
    pub rejected: u64,
    /// Alarms that were raised.
    pub alarms: u64,
    /// Those of them that were not cleared.
    pub alarms_open: u64,
    /// Devices that were calibrated.
    pub calibrations: u64,
    /// How long this run took, from the first device until everything was stored.
    pub seconds: f64,
    /// Readings that this run has stored, in each of them.
    pub readings_per_second: f64,
}

impl Summary {
    /// Of what is stored, and of a run that has stored so many readings in so many seconds.
    pub fn new(totals: Totals, bad_rows: u64, stored: u64, seconds: f64) -> Self {
        let Totals {
            readings,
            devices,
            min,
            max,
            mean,
            gaps,
            duplicates,
            rejected,
            alarms,
            alarms_open,
            calibrations,
        } = totals;
        Self {
            readings,
            devices,
            min,
            max,
            mean,
            gaps,
            duplicates,
            rejected: rejected + bad_rows,
            alarms,
            alarms_open,
            calibrations,
            seconds,
            readings_per_second: if stored > 0 && seconds > 0.0 {
                stored as f64 / seconds
            } else {
                0.0
            },
        }
    }
}
