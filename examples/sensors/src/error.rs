//! What stops a run.

use std::path::PathBuf;

use crate::broker::BrokerError;
use crate::calibration::CalibrationError;
use crate::devices::DevicesError;
use crate::store::StoreError;
use crate::world::{RecordedError, TooMany};

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine or a service.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
    /// The file with readings.
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    /// Too much is to be made up.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The devices.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The calibrations.
    #[error(transparent)]
    Calibration(Box<CalibrationError>),
    /// The cache's server.
    #[error("the cache: {0}")]
    Cache(ensue::Error),
    /// A feature that was not compiled in.
    #[error(
        "{what} needs the feature `{feature}`: cargo run --release -p sensors --features {feature}"
    )]
    Feature {
        /// What was asked for.
        what: &'static str,
        /// What it needs.
        feature: &'static str,
    },
    /// The directory.
    #[error("the directory {}: {source}; --home says another", path.display())]
    Home {
        /// Which.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// What the broker has acknowledged cannot be written down.
    #[error("cannot write {}: {source}", path.display())]
    Acknowledged {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
}

impl From<CalibrationError> for Error {
    fn from(error: CalibrationError) -> Self {
        Self::Calibration(Box::new(error))
    }
}
