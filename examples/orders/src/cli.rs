//! The command line.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Parser;

/// Runs an order management system until every order has reached its end.
///
/// Six services on Ensue: ordering, payments, fulfilment, shipping, receipts, notifications. The
/// orders are made up, or recorded in a file.
///
/// Kill it whenever you like (`kill -9`) and run the same command again: it goes on where it was.
/// Once it is through, the same command adds nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "orders", version)]
pub struct Args {
    /// Take the orders from this file: CSV with one order a row and the time of each step, in UTC
    #[arg(long, value_name = "ORDERS.csv")]
    pub input: Option<PathBuf>,

    /// Where the events live [default: embedded:./data/orders, or embedded:./data/orders-FILE for
    /// orders from a file]
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,

    /// How many orders to make up
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2_000,
        conflicts_with = "input"
    )]
    pub orders: usize,

    /// Which orders to make up: another seed, other orders
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "input")]
    pub seed: u64,

    /// How many of a hundred calls to the outside world fail (and are tried again)
    #[arg(long, value_name = "PERCENT", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(..=100))]
    pub faults: u8,

    /// Place at most this many orders per second
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// The engine's URL.
    pub fn engine(&self) -> String {
        let stem = self.input.as_deref().and_then(Path::file_stem);
        match (&self.engine, stem) {
            (Some(engine), _) => engine.clone(),
            (None, None) => "embedded:./data/orders".to_owned(),
            // A file's orders and made-up ones are not of the same world.
            (None, Some(stem)) => format!("embedded:./data/orders-{}", stem.to_string_lossy()),
        }
    }

    /// Where the gateway keeps its books: beside the log, never in it, because they are not ours.
    /// `None` for a log that is gone with the process.
    pub fn ledger(&self) -> Option<PathBuf> {
        let engine = self.engine();
        let (scheme, rest) = engine.split_once(':').unwrap_or((&engine, ""));
        let place = rest.split('?').next().unwrap_or_default();
        match scheme {
            "memory" => None,
            "embedded" => Some(format!("{}.charges", place.trim_end_matches('/')).into()),
            _ => {
                // A password has no place in the name of a file.
                let host = place.rsplit('@').next().unwrap_or_default();
                let name = host.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                let name = name.trim_matches('-');
                Some(format!("./data/{scheme}-{name}.charges").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(arguments: &[&str]) -> Args {
        Args::parse_from(["orders"].iter().chain(arguments))
    }

    #[test]
    fn each_source_of_orders_has_a_place_of_its_own() {
        assert_eq!(args(&[]).engine(), "embedded:./data/orders");
        let recorded = args(&["--input", "../files/olist_orders.csv"]);
        assert_eq!(recorded.engine(), "embedded:./data/orders-olist_orders");
        assert_eq!(args(&["--engine", "memory:"]).engine(), "memory:");
    }

    #[test]
    fn the_gateways_books_lie_beside_the_log() {
        for (engine, ledger) in [
            ("memory:", None),
            (
                "embedded:./data/orders/?durability=os",
                Some("./data/orders.charges"),
            ),
            (
                "nats://user:pass@host:4222",
                Some("./data/nats-host-4222.charges"),
            ),
        ] {
            let found = args(&["--engine", engine]).ledger();
            assert_eq!(found, ledger.map(PathBuf::from));
        }
    }
}
