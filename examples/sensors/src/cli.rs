//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use ensue::Timestamp;

use crate::mqtt::BrokerPlace;
use crate::store::Bucket;

/// Sensors: devices that publish over MQTT, services that keep what they measure, alarms, and commands that go back
/// to a device.
///
/// Without a flag it is all of it in one process: a broker, a thousand made-up devices, the services. It ends when
/// all that was measured is stored, with a table. Kill it whenever you like (`kill -9`) and run the same command
/// again: it goes on where it was.
#[derive(Clone, Debug, Parser)]
#[command(name = "sensors", version, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Instead of a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do instead of a run.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Ask for readings that are stored
    Query(QueryArgs),
}

/// A part of the system that can be a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The broker that is in the process otherwise, at --mqtt, until it is asked to stop
    Broker,
    /// The devices, until all their readings are stored
    Devices,
    /// Ingestion, services and database, until they are asked to stop
    Services,
    /// What is stored
    Report,
}

/// A run.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// One device that has measured what this file says: CSV with rows of timestamp,value in UTC, as in the Numenta
    /// Anomaly Benchmark
    #[arg(long, value_name = "FILE.csv")]
    pub input: Option<PathBuf>,

    /// How many devices to make up
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000,
        conflicts_with = "input"
    )]
    pub devices: usize,

    /// How many readings each of them makes
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "input")]
    pub readings: usize,

    /// Which devices to make up: another seed, other devices
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "input")]
    pub seed: u64,

    /// At most so many readings a second of each device
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,

    /// What MQTT promises about a reading: 1, it comes at least once; 2, once
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub qos: u8,

    /// How many devices to calibrate
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub calibrations: usize,

    /// The broker: mqtt://HOST:PORT, with USER:PASSWORD@ before HOST where it asks for them [default: one within the
    /// process, on loopback]
    #[arg(long, value_name = "URL")]
    pub mqtt: Option<BrokerPlace>,

    /// Where the events live [default: embedded:HOME/log]
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,

    /// Where the readings are stored: sqlite:FILE, or postgres://… with that feature [default: sqlite:HOME/readings.db]
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,

    /// Where the last values are cached: redis://… with that feature [default: the memory of the process]
    #[arg(long, value_name = "URL")]
    pub cache: Option<String>,

    /// The directory for the log and the database [default: data/sensors/ and a name for these devices; a temporary
    /// one for --engine memory:]
    #[arg(long, value_name = "DIRECTORY")]
    pub home: Option<PathBuf>,

    /// Run only this part
    #[arg(long, value_name = "PART")]
    pub part: Option<Part>,

    /// Write down what the broker has acknowledged: DEVICE,NUMBER
    #[arg(long, value_name = "FILE", hide = true)]
    pub acknowledged: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// A question.
#[derive(Clone, Debug, clap::Args)]
pub struct QueryArgs {
    /// The directory of a run, with its database
    #[arg(long, value_name = "DIRECTORY", required_unless_present = "database")]
    pub home: Option<PathBuf>,

    /// The database: sqlite:FILE, or postgres://… with that feature
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,

    /// Of this device
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,

    /// Measured at this time or later, such as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,

    /// Measured before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,

    /// Count, minimum, maximum and mean of each device for each of these, instead of readings
    #[arg(long, value_name = "PIECE")]
    pub every: Option<Bucket>,

    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,

    /// Print one JSON array instead of a table
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(given: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["sensors"].iter().chain(given))
    }

    #[test]
    fn a_run_is_what_there_is_without_a_command() {
        let run = args(&["--input", "x.csv", "--json"]).unwrap();
        assert!(run.command.is_none() && run.run.json);
        assert!(args(&["--input", "x.csv", "--devices", "3"]).is_err());
        assert!(args(&["--qos", "0"]).is_err());
        assert!(args(&["--mqtt", "localhost"]).is_err());
    }

    #[test]
    fn a_question_needs_to_know_where() {
        assert!(args(&["query"]).is_err());
        let asked = args(&["query", "--home", "x", "--from", "2026-01-01T00:00:00Z"]).unwrap();
        assert!(matches!(asked.command, Some(Command::Query(_))));
        assert!(args(&["query", "--home", "x", "--from", "yesterday"]).is_err());
    }
}
