//! A world that was recorded: one row of a CSV file is one order with the times of its steps.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ensue::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{History, World};
use crate::events::{OrderPlaced, Status};

/// How the file writes a time: month/day/year, without a zone, which is UTC.
const TIME_FORMAT: &str = "%m/%d/%Y %H:%M";

/// Recorded orders.
#[derive(Debug)]
pub struct Recorded {
    orders: Vec<Order>,
    by_id: HashMap<String, usize>,
}

#[derive(Debug)]
struct Order {
    customer_id: String,
    order_id: String,
    history: History,
}

/// The columns that are read; there may be others.
#[derive(Deserialize)]
struct Row {
    order_id: String,
    customer_id: String,
    order_status: String,
    order_purchase_timestamp: String,
    order_approved_at: String,
    order_delivered_carrier_date: String,
    order_delivered_customer_date: String,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// It cannot be opened.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// It is not CSV, or lacks a column.
    #[error(
        "the orders cannot be read: {0}; expected is CSV with the columns order_id, customer_id, \
         order_status, order_purchase_timestamp, order_approved_at, order_delivered_carrier_date \
         and order_delivered_customer_date"
    )]
    Csv(#[from] csv::Error),
    /// A row says something impossible.
    #[error("line {line} of the orders: {reason}")]
    Row {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

impl Recorded {
    /// Loads a file.
    ///
    /// # Errors
    /// See [`RecordedError`]: one wrong row refuses the file, because an order that is left out
    /// silently would look like one that never was.
    pub fn load(path: &Path) -> Result<Self, RecordedError> {
        let file = File::open(path).map_err(|source| RecordedError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::read(file)
    }

    /// Reads CSV.
    ///
    /// # Errors
    /// As for [`Recorded::load`].
    pub fn read(csv: impl Read) -> Result<Self, RecordedError> {
        let mut rows = csv::Reader::from_reader(csv);
        let headers = rows.headers()?.clone();
        let mut record = csv::StringRecord::new();
        let mut recorded = Self {
            orders: Vec::new(),
            by_id: HashMap::new(),
        };
        while rows.read_record(&mut record)? {
            let row: Row = record.deserialize(Some(&headers))?;
            recorded.add(row).map_err(|reason| RecordedError::Row {
                line: record.position().map_or(0, csv::Position::line),
                reason,
            })?;
        }
        Ok(recorded)
    }

    fn add(&mut self, row: Row) -> Result<(), String> {
        let order = Order::try_from(row)?;
        let index = self.orders.len();
        if self.by_id.insert(order.order_id.clone(), index).is_some() {
            return Err(format!("the order `{}` is there already", order.order_id));
        }
        self.orders.push(order);
        Ok(())
    }
}

impl World for Recorded {
    fn len(&self) -> usize {
        self.orders.len()
    }

    fn orders(&self) -> Box<dyn Iterator<Item = OrderPlaced> + Send + '_> {
        Box::new(self.orders.iter().map(|order| OrderPlaced {
            order_id: order.order_id.clone(),
            customer_id: order.customer_id.clone(),
            placed_at: order.history.placed,
        }))
    }

    fn history(&self, order_id: &str) -> Option<History> {
        let index = *self.by_id.get(order_id)?;
        Some(self.orders.get(index)?.history)
    }
}

impl TryFrom<Row> for Order {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        if row.order_id.is_empty() {
            return Err("the order_id is empty".to_owned());
        }
        let placed = time(&row.order_purchase_timestamp)?;
        let history = History {
            placed: placed.ok_or("the order_purchase_timestamp is empty")?,
            approved: time(&row.order_approved_at)?,
            collected: time(&row.order_delivered_carrier_date)?,
            delivered: time(&row.order_delivered_customer_date)?,
            ended: match row.order_status.as_str() {
                "canceled" => Some(Status::Canceled),
                "unavailable" => Some(Status::Unavailable),
                // The other statuses say how far the order came, and so do the times.
                _ => None,
            },
        };
        Ok(Self {
            order_id: row.order_id,
            customer_id: row.customer_id,
            history,
        })
    }
}

/// An empty time is a step that never happened.
fn time(text: &str) -> Result<Option<Timestamp>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = DateTime::strptime(TIME_FORMAT, text)
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map_err(|error| format!("`{text}` is not a time such as 10/2/2017 10:56: {error}"))?;
    Ok(Some(Timestamp::from_micros(
        at.timestamp().as_microsecond(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "order_id,customer_id,order_status,order_purchase_timestamp,\
        order_approved_at,order_delivered_carrier_date,order_delivered_customer_date,extra\n";

    fn read(rows: &str) -> Result<Recorded, RecordedError> {
        Recorded::read(format!("{HEADER}{rows}").as_bytes())
    }

    #[test]
    fn a_row_is_an_order_with_the_times_of_its_steps_in_utc() {
        let world = read("a,c,canceled,10/2/2017 10:56,10/2/2017 0:07,,,x\n").unwrap();
        let history = world.history("a").unwrap();
        assert_eq!(history.placed.to_string(), "2017-10-02T10:56:00Z");
        assert_eq!(
            history.approved.unwrap().to_string(),
            "2017-10-02T00:07:00Z"
        );
        assert_eq!((history.collected, history.delivered), (None, None));
        assert_eq!(history.ended, Some(Status::Canceled));
        assert_eq!(world.history("b"), None);
    }

    #[test]
    fn a_wrong_row_is_named_with_its_line() {
        for (rows, line, reason) in [
            (
                "a,c,created,10/2/2017 10:56,,,,\nb,c,created,2017-10-02,,,,\n",
                3,
                "2017-10-02",
            ),
            ("a,c,created,,,,,\n", 2, "order_purchase_timestamp is empty"),
            (",c,created,10/2/2017 10:56,,,,\n", 2, "order_id is empty"),
            (
                "a,c,x,10/2/2017 10:56,,,,\na,c,x,10/2/2017 10:56,,,,\n",
                3,
                "there already",
            ),
        ] {
            let error = read(rows).unwrap_err().to_string();
            let found = error.contains(&format!("line {line} ")) && error.contains(reason);
            assert!(found, "{error}");
        }
    }

    #[test]
    fn a_missing_column_says_which_are_expected() {
        let error = Recorded::read("order_id\na\n".as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("customer_id"), "{error}");
    }
}
