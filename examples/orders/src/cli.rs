//! The command line.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::services;

/// Runs an order management system until every order has reached its end.
///
/// Six services on Ensue: ordering, payments, fulfilment, shipping, receipts, notifications. The
/// orders are made up, or recorded in a file.
///
/// Kill it whenever you like (`kill -9`) and run the same command again: it goes on where it was.
/// Once it is through, the same command adds nothing.
///
/// On an engine with a server, each part may run in processes of its own, as many as you like: all
/// of them with the same --engine and the same orders, in the same directory.
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

    /// Run only this part, and others that are named like this. A service runs until it is asked
    /// to stop, `storefront` until all orders are placed, `report` until every order has reached
    /// its end; together, they end with the report
    #[arg(long = "service", value_name = "NAME", value_parser = parts())]
    pub services: Vec<String>,

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

/// The part that places the orders.
const STOREFRONT: &str = "storefront";
/// The part that waits for the end and says what came of it.
const REPORT: &str = "report";

fn parts() -> PossibleValuesParser {
    let services = services::ALL.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(services.chain([STOREFRONT, REPORT]))
}

impl Args {
    /// Whether this process runs the service of this name.
    pub fn has_service(&self, name: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|part| part == name)
    }

    /// Whether this process places the orders.
    pub fn has_storefront(&self) -> bool {
        self.has_service(STOREFRONT)
    }

    /// Whether this process waits for the end of all orders, and reports.
    pub fn has_report(&self) -> bool {
        self.has_service(REPORT)
    }

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
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        match scheme {
            "memory" => None,
            "embedded" => Some(format!("{}.charges", place.trim_end_matches('/')).into()),
            _ => {
                // A password has no place in the name of a file.
                let host = place.rsplit('@').next().unwrap_or_default();
                let options = options.split('&');
                // Another log on the same server is another shop's.
                let log = options.rev().find_map(|it| it.strip_prefix("namespace="));
                let name = format!("{scheme}-{host}-{}", log.unwrap_or_default());
                let words = name.split(|c: char| !c.is_ascii_alphanumeric());
                let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
                Some(format!("./data/{}.charges", words.join("-")).into())
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
    fn a_process_runs_everything_unless_parts_are_named() {
        let all = args(&[]);
        assert!(all.has_service("payments") && all.has_storefront() && all.has_report());
        let some = args(&["--service", "payments", "--service", "report"]);
        assert!(some.has_service("payments") && some.has_report());
        assert!(!some.has_service("shipping") && !some.has_storefront());
        let unknown = Args::try_parse_from(["orders", "--service", "unknown"]);
        let why = unknown.unwrap_err().to_string();
        assert!(
            why.contains("fulfilment") && why.contains("storefront"),
            "{why}"
        );
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
            (
                "redis://host:6379?replica=/r&namespace=shop_2",
                Some("./data/redis-host-6379-shop-2.charges"),
            ),
        ] {
            let found = args(&["--engine", engine]).ledger();
            assert_eq!(found, ledger.map(PathBuf::from));
        }
    }
}
