//! Questions to the readings that are stored.

use serde::Serialize;

use crate::cli::QueryArgs;
use crate::error::Error;
use crate::home::Home;
use crate::store::{Aggregate, Question, Row, Store};

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Found {
    /// Readings.
    Rows(Vec<Row>),
    /// Pieces of time.
    Aggregates(Vec<Aggregate>),
}

/// Asks.
///
/// # Errors
/// What the database reports.
pub async fn query(args: &QueryArgs) -> Result<Found, Error> {
    let url = match (&args.database, &args.home) {
        (Some(url), _) => url.clone(),
        (None, Some(home)) => Home::at(home)?.database(),
        // The command line has one of both.
        (None, None) => String::new(),
    };
    let store = Store::open(&url).await?;
    let question = Question {
        device: args.device.clone(),
        from: args.from,
        to: args.to,
    };
    let found = match args.every {
        None => Found::Rows(store.rows(&question, args.limit).await?),
        Some(bucket) => {
            let found = store.aggregates(&question, bucket, args.limit);
            Found::Aggregates(found.await?)
        }
    };
    Ok(found)
}
