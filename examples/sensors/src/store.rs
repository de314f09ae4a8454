//! The tables: readings, what was repeated or rejected, alarms and calibrations, in SQLite or PostgreSQL.

mod database;
mod question;
mod sum;
mod tables;

use std::sync::Arc;

use ensue::prelude::*;
use ensue_blocks::cache::{BoxError, Loaded};
use ensue_sql::sqlx;
use futures_util::future::BoxFuture;

pub use self::question::{Aggregate, Bucket, LastValue, Question, Row};
use self::tables::Tables;

/// The projection that writes the tables.
pub const PROJECTION: &str = "sensors";

/// Why the tables have no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No database has such a URL.
    #[error(
        "the database `{0}`: expected is sqlite:FILE, or postgres://… with the feature `postgres`"
    )]
    Unknown(String),
    /// The database.
    #[error("the database of readings: {0}")]
    Database(#[from] sqlx::Error),
    /// The projection.
    #[error(transparent)]
    Projection(Box<ensue_sql::Error>),
}

impl From<ensue_sql::Error> for StoreError {
    fn from(error: ensue_sql::Error) -> Self {
        Self::Projection(Box::new(error))
    }
}

/// What all tables together say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Readings that are stored.
    pub readings: u64,
    /// Devices that have one.
    pub devices: u64,
    /// The smallest value, if there is one.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The mean: the exact sum, rounded once, by their number.
    pub mean: Option<f64>,
    /// Numbers of readings that are missing between those that came.
    pub gaps: u64,
    /// Readings that came again.
    pub duplicates: u64,
    /// Readings that are no numbers.
    pub rejected: u64,
    /// Alarms that were raised.
    pub alarms: u64,
    /// Those of them that were not cleared.
    pub alarms_open: u64,
    /// Devices that were calibrated.
    pub calibrations: u64,
}

/// The database.
pub struct Store {
    tables: Arc<dyn Tables>,
}

/// The projection that writes the tables for as long as this is there.
pub struct Storing {
    group: String,
    failing: BoxFuture<'static, StoreError>,
}

impl Storing {
    /// The group whose lag is the projection's.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Completes when the projection cannot go on, with the reason.
    pub async fn failed(&mut self) -> StoreError {
        (&mut self.failing).await
    }
}

impl Store {
    /// Opens the database at this URL.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let tables = database::open(url).await?;
        Ok(Self { tables })
    }

    /// Starts the projection, which makes the tables.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start(&self, engine: &Engine) -> Result<Storing, StoreError> {
        self.tables.start(engine.clone()).await
    }

    /// What all tables together say.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        Ok(self.tables.totals().await?)
    }

    /// The readings that are asked for, by time.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn rows(&self, question: &Question, limit: u32) -> Result<Vec<Row>, StoreError> {
        Ok(self.tables.rows(question.clone(), limit).await?)
    }

    /// The readings that are asked for, by pieces of time.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn aggregates(
        &self,
        question: &Question,
        bucket: Bucket,
        limit: u32,
    ) -> Result<Vec<Aggregate>, StoreError> {
        let aggregates = self.tables.aggregates(question.clone(), bucket, limit);
        Ok(aggregates.await?)
    }

    /// Every reading: device and number.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn all(&self) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(self.tables.all().await?)
    }

    /// What a device has measured last, and up to which position of the log that is so.
    pub(crate) async fn last(&self, device: &str) -> Result<Loaded<LastValue>, BoxError> {
        Ok(self.tables.last(device.to_owned()).await?)
    }
}
