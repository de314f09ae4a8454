//! The same for each database: sqlx has a type of its own for each.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use ensue::prelude::*;
use ensue::{Position, Timestamp};
use ensue_blocks::cache::Loaded;
use ensue_sql::sqlx::{self, AssertSqlSafe};
use ensue_sql::{Projection, Sql};
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;

use super::question::{Aggregate, Bucket, LastValue, Question, Row};
use super::sum::ExactSum;
use super::tables::{
    ALL, CLEAR_ALARM, COUNTS, INSERT_ALARM, INSERT_CALIBRATION, INSERT_LAST, INSERT_READINGS,
    INSERT_REJECTION, INSERT_REPEAT, LAST, ON_LAST, ROWS_MAX, TABLES, Tables, VALUES, placeholders,
};
use super::{PROJECTION, StoreError, Storing, Totals};
use crate::events::{
    AlarmCleared, AlarmRaised, DeviceCalibrated, ReadingAccepted, ReadingRejected, ReadingRepeated,
};

/// How long one who writes to SQLite waits for another.
const BUSY: Duration = Duration::from_secs(30);

/// Opens the database at this URL.
pub(super) async fn open(url: &str) -> Result<Arc<dyn Tables>, StoreError> {
    if url.starts_with("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .busy_timeout(BUSY);
        let pool = sqlx::SqlitePool::connect_with(options).await?;
        return Ok(Arc::new(pool));
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        // Connects when it is needed: a database that is away is waited for.
        let pool = sqlx::PgPool::connect_lazy(url)?;
        return Ok(Arc::new(pool));
    }
    // A URL may have a password: only what comes before it is said.
    let scheme = url.split(':').next().unwrap_or_default();
    Err(StoreError::Unknown(format!("{scheme}:…")))
}

/// Numbers of readings and positions are far from the largest that there is.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

macro_rules! database {
    ($room:ident, $database:ty) => {
        mod $room {
            use super::*;

            /// The methods of the projection.
            struct Writer;

            impl Writer {
                async fn accepted(
                    &self,
                    sql: &mut Sql<$database>,
                    readings: Vec<ReadingAccepted>,
                ) -> sqlx::Result<()> {
                    for rows in readings.chunks(ROWS_MAX) {
                        let statement = format!("{INSERT_READINGS}{}", placeholders(rows.len(), 5));
                        let mut insert = sql.query(&statement);
                        for row in rows {
                            insert = insert
                                .bind(row.device.clone())
                                .bind(stored(row.sequence))
                                .bind(row.at.as_micros())
                                .bind(row.value)
                                .bind(stored(row.missing));
                        }
                        insert.execute(&mut **sql).await?;
                    }
                    self.last(sql, &readings).await
                }

                /// The last of each device: no later event of it stands before the position at hand.
                async fn last(
                    &self,
                    sql: &mut Sql<$database>,
                    readings: &[ReadingAccepted],
                ) -> sqlx::Result<()> {
                    let position = position(sql);
                    let last: HashMap<&str, &ReadingAccepted> =
                        readings.iter().map(|it| (it.device.as_str(), it)).collect();
                    let last: Vec<&ReadingAccepted> = last.into_values().collect();
                    for rows in last.chunks(ROWS_MAX) {
                        let places = placeholders(rows.len(), 5);
                        let mut insert = sql.query(&format!("{INSERT_LAST}{places}{ON_LAST}"));
                        for row in rows {
                            insert = insert
                                .bind(row.device.clone())
                                .bind(stored(row.sequence))
                                .bind(row.at.as_micros())
                                .bind(row.value)
                                .bind(position);
                        }
                        insert.execute(&mut **sql).await?;
                    }
                    Ok(())
                }

                async fn repeated(
                    &self,
                    sql: &mut Sql<$database>,
                    reading: ReadingRepeated,
                ) -> sqlx::Result<()> {
                    let insert = sql.query(INSERT_REPEAT).bind(position(sql));
                    let insert = insert.bind(reading.device).bind(stored(reading.sequence));
                    insert.execute(&mut **sql).await?;
                    Ok(())
                }

                async fn rejected(
                    &self,
                    sql: &mut Sql<$database>,
                    reading: ReadingRejected,
                ) -> sqlx::Result<()> {
                    let insert = sql.query(INSERT_REJECTION).bind(position(sql));
                    let insert = insert.bind(reading.device).bind(stored(reading.sequence));
                    let insert = insert.bind(stored(reading.missing)).bind(reading.reason);
                    insert.execute(&mut **sql).await?;
                    Ok(())
                }

                async fn raised(
                    &self,
                    sql: &mut Sql<$database>,
                    alarm: AlarmRaised,
                ) -> sqlx::Result<()> {
                    let insert = sql.query(INSERT_ALARM).bind(position(sql));
                    let insert = insert.bind(alarm.device).bind(alarm.kind.name());
                    let insert = insert.bind(alarm.since.as_micros());
                    insert.execute(&mut **sql).await?;
                    Ok(())
                }

                async fn cleared(
                    &self,
                    sql: &mut Sql<$database>,
                    alarm: AlarmCleared,
                ) -> sqlx::Result<()> {
                    let clear = sql.query(CLEAR_ALARM).bind(alarm.until.as_micros());
                    let clear = clear.bind(alarm.device).bind(alarm.kind.name());
                    clear
                        .bind(alarm.since.as_micros())
                        .execute(&mut **sql)
                        .await?;
                    Ok(())
                }

                async fn calibrated(
                    &self,
                    sql: &mut Sql<$database>,
                    done: DeviceCalibrated,
                ) -> sqlx::Result<()> {
                    let insert = sql.query(INSERT_CALIBRATION).bind(position(sql));
                    let insert = insert.bind(done.device).bind(done.offset);
                    let insert = insert.bind(stored(done.token));
                    insert.execute(&mut **sql).await?;
                    Ok(())
                }
            }

            fn position(sql: &Sql<$database>) -> i64 {
                stored(sql.position().map_or(0, Position::get))
            }

            async fn start(
                pool: sqlx::Pool<$database>,
                engine: Engine,
            ) -> Result<Storing, StoreError> {
                let mut projection = Projection::new(PROJECTION, pool, Writer);
                for (table, create) in TABLES {
                    projection = projection.table(table, create);
                }
                let mut running = projection
                    .on_many(Writer::accepted)
                    .on(Writer::repeated)
                    .on(Writer::rejected)
                    .on(Writer::raised)
                    .on(Writer::cleared)
                    .on(Writer::calibrated)
                    .start(&engine)
                    .await?;
                let group = running.group().await?;
                let failing = async move { running.failed().await.into() };
                Ok(Storing {
                    group,
                    failing: Box::pin(failing),
                })
            }

            impl Tables for sqlx::Pool<$database> {
                fn start(&self, engine: Engine) -> BoxFuture<'_, Result<Storing, StoreError>> {
                    Box::pin(start(self.clone(), engine))
                }

                fn totals(&self) -> BoxFuture<'_, Result<Totals, sqlx::Error>> {
                    Box::pin(async move {
                        type Counts = (i64, i64, i64, i64, i64, i64, i64);
                        // One snapshot of all of it.
                        let mut transaction = self.begin().await?;
                        let counts = sqlx::query_as::<_, Counts>(COUNTS);
                        let counts = counts.fetch_one(&mut *transaction).await?;
                        let (devices, gaps, duplicates, rejected, alarms, open, calibrations) =
                            counts;
                        let mut totals = Totals {
                            devices: read(devices),
                            gaps: read(gaps),
                            duplicates: read(duplicates),
                            rejected: read(rejected),
                            alarms: read(alarms),
                            alarms_open: read(open),
                            calibrations: read(calibrations),
                            ..Totals::default()
                        };
                        let mut sum = ExactSum::default();
                        let mut values = sqlx::query_scalar(VALUES).fetch(&mut *transaction);
                        while let Some(value) = values.try_next().await? {
                            let value: f64 = value;
                            totals.readings += 1;
                            sum.add(value);
                            totals.min = Some(totals.min.map_or(value, |min| min.min(value)));
                            totals.max = Some(totals.max.map_or(value, |max| max.max(value)));
                        }
                        if totals.readings > 0 {
                            totals.mean = Some(sum.get() / totals.readings as f64);
                        }
                        Ok(totals)
                    })
                }

                fn all(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, sqlx::Error>> {
                    Box::pin(async move {
                        let all = sqlx::query_as::<_, (String, i64)>(ALL);
                        let all = all.fetch_all(self).await?.into_iter();
                        Ok(all.map(|(device, number)| (device, read(number))).collect())
                    })
                }

                fn last(
                    &self,
                    device: String,
                ) -> BoxFuture<'_, Result<Loaded<LastValue>, sqlx::Error>> {
                    Box::pin(async move {
                        let last = sqlx::query_as::<_, (i64, i64, f64, i64)>(LAST).bind(device);
                        let Some((sequence, at, value, position)) =
                            last.fetch_optional(self).await?
                        else {
                            return Ok(Loaded::new(Position::ZERO, None));
                        };
                        let last = LastValue {
                            sequence: read(sequence),
                            at: Timestamp::from_micros(at),
                            value,
                        };
                        Ok(Loaded::new(Position::new(read(position)), Some(last)))
                    })
                }

                fn rows(
                    &self,
                    question: Question,
                    limit: u32,
                ) -> BoxFuture<'_, Result<Vec<Row>, sqlx::Error>> {
                    Box::pin(async move {
                        let (condition, bound) = question.condition();
                        let text = format!(
                            "SELECT device, sequence, measured_at, value FROM readings{condition} \
                             ORDER BY measured_at, device, sequence LIMIT ${}",
                            bound + 1
                        );
                        let mut rows =
                            sqlx::query_as::<_, (String, i64, i64, f64)>(AssertSqlSafe(text));
                        if let Some(device) = question.device {
                            rows = rows.bind(device);
                        }
                        for time in question.from.into_iter().chain(question.to) {
                            rows = rows.bind(time.as_micros());
                        }
                        let rows = rows.bind(i64::from(limit)).fetch_all(self).await?;
                        let rows = rows.into_iter().map(|(device, sequence, at, value)| Row {
                            device,
                            sequence: read(sequence),
                            at: Timestamp::from_micros(at),
                            value,
                        });
                        Ok(rows.collect())
                    })
                }

                fn aggregates(
                    &self,
                    question: Question,
                    bucket: Bucket,
                    limit: u32,
                ) -> BoxFuture<'_, Result<Vec<Aggregate>, sqlx::Error>> {
                    Box::pin(async move {
                        let (condition, bound) = question.condition();
                        let micros = bucket.micros();
                        let text = format!(
                            "SELECT device, measured_at / {micros} AS piece, COUNT(*), MIN(value), \
                             MAX(value), AVG(value) FROM readings{condition} GROUP BY device, piece \
                             ORDER BY piece, device LIMIT ${}",
                            bound + 1
                        );
                        type Found = (String, i64, i64, f64, f64, f64);
                        let mut found = sqlx::query_as::<_, Found>(AssertSqlSafe(text));
                        if let Some(device) = question.device {
                            found = found.bind(device);
                        }
                        for time in question.from.into_iter().chain(question.to) {
                            found = found.bind(time.as_micros());
                        }
                        let found = found.bind(i64::from(limit)).fetch_all(self).await?;
                        let found = found.into_iter().map(|(device, piece, readings, min, max, mean)| {
                            Aggregate {
                                device,
                                from: Timestamp::from_micros(piece * micros),
                                readings: read(readings),
                                min,
                                max,
                                mean,
                            }
                        });
                        Ok(found.collect())
                    })
                }
            }
        }
    };
}

database!(of_sqlite, sqlx::Sqlite);
#[cfg(feature = "postgres")]
database!(of_postgres, sqlx::Postgres);
