//! `ensue projection`: the versions of projections in a database, and which of them is read.

mod compare;
mod list;
mod progress;
mod rebuild;
mod retire;
mod switch;

use clap::{Args, Subcommand};
use ensue_sql::{Error, Projections};

use crate::failure::Failure;
use crate::output::Output;

/// List, rebuild, compare and switch the versions of projections in a database
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Projection {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Rebuild(rebuild::Rebuild),
    Compare(compare::Compare),
    Switch(switch::Switch),
    Retire(retire::Retire),
}

/// Where the projections are.
#[derive(Args, Debug)]
struct Database {
    /// The database: `postgres://…`, `mysql://…` or `sqlite:FILE`
    #[arg(
        long = "database",
        env = "ENSUE_DATABASE",
        hide_env_values = true,
        value_name = "URL"
    )]
    url: String,
}

impl Database {
    async fn projections(&self) -> Result<Projections, Failure> {
        Ok(Projections::connect(&self.url).await?)
    }
}

impl Projection {
    pub(crate) async fn run(self, out: &Output) -> Result<(), Failure> {
        match self.action {
            Action::List(action) => action.run(out).await,
            Action::Rebuild(action) => action.run(out).await,
            Action::Compare(action) => action.run(out).await,
            Action::Switch(action) => action.run(out).await,
            Action::Retire(action) => action.run(out).await,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Database(_) => "database",
            Error::Url { .. } => "url",
            Error::UnknownProjection { .. } => "unknown_projection",
            Error::UnknownVersion { .. } => "unknown_version",
            Error::Retired { .. } => "retired",
            Error::Behind { .. } => "behind",
            Error::NotComparable { .. } => "not_comparable",
            Error::Projection { .. } => "projection",
            Error::Unreadable { .. } => "unreadable",
            _ => "other",
        };
        Self::without_advice(kind, error.to_string())
    }
}
