//! Devices that are made up: they measure, lose readings, say some twice, and fail now and then, all of it by
//! chance that a seed decides.

use ensue::Timestamp;
use fastrand::Rng;

use super::{BadRows, Measured, Measuring, World};
use crate::events::ReadingMeasured;

/// The most readings of all devices together.
const READINGS_MAX: usize = 50_000_000;
/// When the first reading is made: 2026-01-01 00:00:00 UTC.
const BEGIN: i64 = 1_767_225_600_000_000;
/// Between two readings.
const INTERVAL: i64 = 10_000_000;
/// A device that pauses does so for this long.
const PAUSE: i64 = 60 * INTERVAL;

/// Of so many readings, one, by chance.
const LOST_ONE_IN: u64 = 500;
const TWICE_ONE_IN: u64 = 400;
const BROKEN_ONE_IN: u64 = 1_000;
/// Of so many devices, one.
const FAULTY_ONE_IN: u64 = 20;
const PAUSING_ONE_IN: u64 = 25;

/// More than can be made up.
#[derive(Debug, thiserror::Error)]
#[error(
    "{devices} devices with {readings} readings each are too many: {READINGS_MAX} in all are possible"
)]
pub struct TooMany {
    devices: usize,
    readings: usize,
}

/// Which devices are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// How many.
    pub devices: usize,
    /// How many readings each makes; some are lost.
    pub readings: usize,
    /// Another seed, other readings.
    pub seed: u64,
}

impl Simulation {
    /// Makes them up.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn world(self) -> Result<World, TooMany> {
        let Self {
            devices,
            readings,
            seed,
        } = self;
        if devices.saturating_mul(readings) > READINGS_MAX {
            return Err(TooMany { devices, readings });
        }
        let name = format!("made-up-{devices}x{readings}-{seed}");
        Ok(World {
            devices: (0..devices).map(|index| self.device(index)).collect(),
            bad_rows: BadRows::default(),
            name,
        })
    }

    fn device(self, index: usize) -> Measuring {
        let mut random = Rng::with_seed(self.seed.wrapping_mul(1_000_003) ^ index as u64);
        let device = format!("s{}-{index:05}", self.seed);
        let level = 15.0 + 60.0 * random.f64();
        let is_faulty = random.u64(..FAULTY_ONE_IN) == 0;
        // Late enough that what is usual is known by then.
        let fault = self.readings * 3 / 4;
        let pause = (random.u64(..PAUSING_ONE_IN) == 0).then_some(self.readings / 2);
        let mut at = BEGIN + random.i64(0..INTERVAL);
        let mut previous = 0;
        let mut kept = Vec::with_capacity(self.readings);
        for number in 0..self.readings {
            at += INTERVAL;
            if pause == Some(number) {
                at += PAUSE;
            }
            let mut value = level + (random.f64() - 0.5) + (number as f64 / 40.0).sin();
            if is_faulty && (fault..fault + 3).contains(&number) {
                value += 40.0;
            }
            // Like a thermometer of two decimals.
            let value = (value * 100.0).round() / 100.0;
            let sequence = number as u64 + 1;
            if random.u64(..LOST_ONE_IN) == 0 {
                continue;
            }
            let is_broken = random.u64(..BROKEN_ONE_IN) == 0;
            kept.push(Measured {
                reading: ReadingMeasured {
                    sequence,
                    previous: Some(previous),
                    at: Timestamp::from_micros(at),
                    value: (!is_broken).then_some(value),
                },
                is_said_twice: random.u64(..TWICE_ONE_IN) == 0,
            });
            previous = sequence;
        }
        Measuring {
            device,
            readings: kept.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Simulation = Simulation {
        devices: 200,
        readings: 40,
        seed: 1,
    };

    #[test]
    fn a_seed_makes_the_same_devices_and_another_makes_others() {
        let readings = |seed| {
            let world = Simulation { seed, ..SOME }.world().unwrap();
            world.devices[3].readings.clone()
        };
        assert_eq!(readings(1), readings(1));
        assert_ne!(readings(1), readings(2));
    }

    #[test]
    fn numbers_that_are_lost_show_in_what_comes_after() {
        let world = SOME.world().unwrap();
        let mut lost = 0;
        for device in &world.devices {
            let mut before = 0;
            for Measured { reading, .. } in device.readings.iter() {
                assert_eq!(reading.previous, Some(before));
                lost += reading.sequence - before - 1;
                before = reading.sequence;
            }
        }
        assert!(lost > 0);
    }

    #[test]
    fn too_many_are_refused() {
        let many = Simulation {
            devices: 2_000_000,
            ..SOME
        };
        assert!(many.world().is_err());
    }
}
