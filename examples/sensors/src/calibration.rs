//! Calibrating devices, one at a time among all processes: the reference that they are held against is one.

use std::time::Duration;

use ensue::prelude::*;
use ensue_blocks::lock::{LockError, Locks, LogLocks};

use crate::events::{CalibrateDevice, DeviceAnswered, DeviceCalibrated};

/// The lock.
const LOCK: &str = "calibration";
/// How long the lock may take.
const HELD_WITHIN: Duration = Duration::from_secs(600);
/// How long a device may take.
const DONE_WITHIN: Duration = Duration::from_secs(300);
/// How many are calibrated by jobs that want to at the same time.
const JOBS: usize = 2;

/// Why a device was not calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The lock: it was not to be had, or another had it when the result was written.
    #[error("calibrating {device}: {source}")]
    Lock {
        /// Which device.
        device: String,
        /// Why.
        source: LockError,
    },
    /// The device, or the engine.
    #[error("calibrating {device}: {source}")]
    Device {
        /// Which device.
        device: String,
        /// Why.
        source: ensue::Error,
    },
}

/// Who calibrates.
#[derive(Clone)]
pub struct Calibration {
    engine: Engine,
    requester: Requester,
    locks: Locks,
    guard: LogLocks,
}

impl Calibration {
    /// On the log of this engine, where the lock is, too.
    pub fn new(engine: &Engine) -> Self {
        let guard = LogLocks::new(engine);
        Self {
            engine: engine.clone(),
            requester: engine.requester("/sensors/calibration"),
            locks: Locks::new(guard.clone()),
            guard,
        }
    }

    /// Calibrates devices that were not yet, by several jobs at a time that wait for each other.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub async fn all(&self, devices: &[String]) -> Result<(), CalibrationError> {
        let jobs = (0..JOBS).map(|job| async move {
            for device in devices.iter().skip(job).step_by(JOBS) {
                self.one(device).await?;
            }
            Ok(())
        });
        futures_util::future::try_join_all(jobs).await?;
        Ok(())
    }

    /// Calibrates a device, unless that was done before. What comes of it is written only while the lock is held:
    /// a job that was stopped for so long that another has the lock is refused.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub async fn one(&self, device: &str) -> Result<(), CalibrationError> {
        let locked = |source| CalibrationError::Lock {
            device: device.to_owned(),
            source,
        };
        let failed = |source| CalibrationError::Device {
            device: device.to_owned(),
            source,
        };
        let lock = self
            .locks
            .acquire(LOCK, HELD_WITHIN)
            .await
            .map_err(locked)?;
        let before = self.engine.last(DeviceCalibrated::TOPIC, device).await;
        if before.map_err(failed)?.is_none() {
            let request = CalibrateDevice {
                device: device.to_owned(),
            };
            let answered: DeviceAnswered = self
                .requester
                .request(request, DONE_WITHIN)
                .await
                .map_err(failed)?;
            let calibrated = DeviceCalibrated {
                device: device.to_owned(),
                offset: answered.offset,
                token: lock.token().get(),
            };
            let calibrated = [Outgoing::new(calibrated)];
            self.guard.append(&lock, calibrated).await.map_err(locked)?;
        }
        lock.release().await.map_err(locked)
    }
}
