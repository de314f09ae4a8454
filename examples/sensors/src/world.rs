//! What is measured, and by whom: made up from a seed, or recorded in a file.

mod recorded;
mod simulated;

use std::sync::Arc;

use crate::events::ReadingMeasured;

pub use self::recorded::{BadRows, RecordedError, Recording};
pub use self::simulated::{Simulation, TooMany};

/// Devices and all that they will ever say, the same whenever it is asked for.
#[derive(Clone, Debug)]
pub struct World {
    /// Tells this world from others.
    pub name: String,
    /// The devices.
    pub devices: Vec<Measuring>,
    /// Rows of a recording that are no readings.
    pub bad_rows: BadRows,
}

/// One device's readings.
#[derive(Clone, Debug)]
pub struct Measuring {
    /// The device.
    pub device: String,
    /// What it has in its memory, by number.
    pub readings: Arc<[Measured]>,
}

/// One reading in a device's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// As it is said.
    pub reading: ReadingMeasured,
    /// Whether the device's radio says it twice.
    pub is_said_twice: bool,
}
