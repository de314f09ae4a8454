//! What a database is asked, whichever it is.

use std::fmt::Write as _;

use ensue::prelude::*;
use ensue_blocks::cache::Loaded;
use ensue_sql::sqlx;
use futures_util::future::BoxFuture;

use super::question::{Aggregate, Bucket, LastValue, Question, Row};
use super::{StoreError, Storing, Totals};

/// The most rows of one statement: SQLite binds 32,766 values at the most.
pub(super) const ROWS_MAX: usize = 1_000;

/// The tables of the projection, and what makes each.
pub(super) const TABLES: [(&str, &str); 6] = [
    (
        "readings",
        "CREATE TABLE IF NOT EXISTS {readings} (device TEXT NOT NULL, sequence BIGINT NOT NULL, \
         measured_at BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL, missing BIGINT NOT NULL, \
         PRIMARY KEY (device, sequence)); \
         CREATE INDEX IF NOT EXISTS {readings}_by_time ON {readings} (device, measured_at)",
    ),
    (
        "last_readings",
        "CREATE TABLE IF NOT EXISTS {last_readings} (device TEXT PRIMARY KEY, sequence BIGINT NOT NULL, \
         measured_at BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL, pos BIGINT NOT NULL)",
    ),
    (
        "repeats",
        "CREATE TABLE IF NOT EXISTS {repeats} (pos BIGINT PRIMARY KEY, device TEXT NOT NULL, \
         sequence BIGINT NOT NULL)",
    ),
    (
        "rejections",
        "CREATE TABLE IF NOT EXISTS {rejections} (pos BIGINT PRIMARY KEY, device TEXT NOT NULL, \
         sequence BIGINT NOT NULL, missing BIGINT NOT NULL, reason TEXT NOT NULL)",
    ),
    (
        "alarms",
        "CREATE TABLE IF NOT EXISTS {alarms} (pos BIGINT PRIMARY KEY, device TEXT NOT NULL, \
         kind TEXT NOT NULL, since_at BIGINT NOT NULL, until_at BIGINT)",
    ),
    (
        "calibrations",
        "CREATE TABLE IF NOT EXISTS {calibrations} (pos BIGINT PRIMARY KEY, device TEXT NOT NULL, \
         off_by DOUBLE PRECISION NOT NULL, token BIGINT NOT NULL)",
    ),
];

pub(super) const INSERT_READINGS: &str =
    "INSERT INTO {readings} (device, sequence, measured_at, value, missing) VALUES ";
pub(super) const INSERT_LAST: &str =
    "INSERT INTO {last_readings} (device, sequence, measured_at, value, pos) VALUES ";
pub(super) const ON_LAST: &str = " ON CONFLICT (device) DO UPDATE SET sequence = excluded.sequence, \
    measured_at = excluded.measured_at, value = excluded.value, pos = excluded.pos";
pub(super) const INSERT_REPEAT: &str =
    "INSERT INTO {repeats} (pos, device, sequence) VALUES ($1, $2, $3)";
pub(super) const INSERT_REJECTION: &str =
    "INSERT INTO {rejections} (pos, device, sequence, missing, reason) VALUES ($1, $2, $3, $4, $5)";
pub(super) const INSERT_ALARM: &str =
    "INSERT INTO {alarms} (pos, device, kind, since_at) VALUES ($1, $2, $3, $4)";
pub(super) const CLEAR_ALARM: &str = "UPDATE {alarms} SET until_at = $1 \
    WHERE device = $2 AND kind = $3 AND since_at = $4 AND until_at IS NULL";
pub(super) const INSERT_CALIBRATION: &str =
    "INSERT INTO {calibrations} (pos, device, off_by, token) VALUES ($1, $2, $3, $4)";

pub(super) const COUNTS: &str = "SELECT COUNT(DISTINCT device), \
    CAST(COALESCE(SUM(missing), 0) + (SELECT COALESCE(SUM(missing), 0) FROM rejections) AS BIGINT), \
    (SELECT COUNT(*) FROM repeats), (SELECT COUNT(*) FROM rejections), (SELECT COUNT(*) FROM alarms), \
    (SELECT COUNT(*) FROM alarms WHERE until_at IS NULL), (SELECT COUNT(*) FROM calibrations) FROM readings";
pub(super) const VALUES: &str = "SELECT value FROM readings";
pub(super) const ALL: &str = "SELECT device, sequence FROM readings";
pub(super) const LAST: &str =
    "SELECT sequence, measured_at, value, pos FROM last_readings WHERE device = $1";

/// `($1, $2), ($3, $4)`: so many rows of so many values.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            // Writing into a text does not fail.
            let _ = write!(text, "{comma}${}", row * columns + column);
        }
        text.push(')');
    }
    text
}

/// What is asked of a database that can be asked by several at once.
pub(super) trait Tables: Send + Sync {
    /// Starts the projection.
    fn start(&self, engine: Engine) -> BoxFuture<'_, Result<Storing, StoreError>>;

    /// What all tables together say.
    fn totals(&self) -> BoxFuture<'_, Result<Totals, sqlx::Error>>;

    /// Every reading.
    fn all(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, sqlx::Error>>;

    /// What a device has measured last.
    fn last(&self, device: String) -> BoxFuture<'_, Result<Loaded<LastValue>, sqlx::Error>>;

    /// Readings, by time.
    fn rows(&self, question: Question, limit: u32) -> BoxFuture<'_, Result<Vec<Row>, sqlx::Error>>;

    /// Readings, by pieces of time.
    fn aggregates(
        &self,
        question: Question,
        bucket: Bucket,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Aggregate>, sqlx::Error>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_a_place_of_its_own() {
        assert_eq!(placeholders(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(placeholders(1, 3), "($1, $2, $3)");
    }
}
