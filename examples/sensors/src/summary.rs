//! What came of a run.

use serde::Serialize;

use crate::store::Totals;

/// The figures of all that is stored, and of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What is stored; rows of the recording that are no readings are rejected, too.
    #[serde(flatten)]
    pub totals: Totals,
    /// How long this run took, from the first device until everything was stored.
    pub seconds: f64,
    /// Readings that this run has stored, in each of them.
    pub readings_per_second: f64,
}

impl Summary {
    /// Of what is stored, and of a run that has stored so many readings in so many seconds.
    pub fn new(totals: Totals, bad_rows: u64, stored: u64, seconds: f64) -> Self {
        Self {
            totals: Totals {
                rejected: totals.rejected + bad_rows,
                ..totals
            },
            seconds,
            readings_per_second: if stored > 0 && seconds > 0.0 {
                stored as f64 / seconds
            } else {
                0.0
            },
        }
    }
}
