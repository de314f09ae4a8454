//! `ensue saga retry`.

use std::collections::{BTreeSet, HashSet};
use std::io;

use clap::Args;
use ensue::engine::Driver;
use ensue::{SagaProcess, Sagas, Timestamp};
use serde::Serialize;

use super::process;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "nothing was retried",
    method: "Sagas::retry",
};

/// Have processes that are stuck go on: what they are stuck at is tried again
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue saga retry checkout o-17
  ensue saga retry checkout --all --dry-run

The app tries it when it runs next; its attempts are counted from one again.")]
pub(crate) struct Retry {
    /// The saga
    saga: String,
    /// Keys of processes
    #[arg(value_name = "KEY", conflicts_with = "all")]
    keys: Vec<String>,
    /// All of the saga's processes that are stuck
    #[arg(long)]
    all: bool,
    /// Only show which ones it would be
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Retried {
    saga: String,
    dry_run: bool,
    count: usize,
    processes: Vec<SagaProcess>,
}

impl Retry {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        if self.keys.is_empty() && !self.all {
            let problem = "which processes? name their keys, or say --all";
            return Err(Failure::Usage(problem.to_owned()));
        }
        let reader = target.reader().await?;
        let mut processes = self.chosen(Sagas::of(&*reader)).await?;
        reader.close().await?;
        if !self.dry_run {
            let work = async |engine: &dyn Driver| {
                let keys: Vec<String> = processes.iter().map(|it| it.key.clone()).collect();
                let retried = Sagas::of(engine).retry_all(&self.saga, &keys).await?;
                let retried: HashSet<String> = retried.into_iter().collect();
                processes.retain(|process| retried.contains(&process.key));
                Ok(processes)
            };
            processes = target.write(CHANGE, work).await?;
        }
        out.report(&Retried {
            saga: self.saga,
            dry_run: self.dry_run,
            count: processes.len(),
            processes,
        })
    }

    /// Those that are stuck among the ones that are meant.
    async fn chosen(&self, sagas: Sagas<'_>) -> Result<Vec<SagaProcess>, Failure> {
        if self.all {
            return Ok(sagas.stuck(&self.saga, 0).await?);
        }
        let mut chosen = Vec::new();
        // Each once, however often it was named.
        for key in self.keys.iter().collect::<BTreeSet<_>>() {
            let found = sagas.process(&self.saga, key).await?;
            chosen.push(found.ok_or_else(|| process::unknown(&self.saga, key))?);
        }
        chosen.retain(|process| process.stuck.is_some());
        Ok(chosen)
    }
}

impl Report for Retried {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let many = if self.count == 1 { "" } else { "es" };
        let what = format!("{} process{many}", human::count(self.count as u64));
        let saga = human::printable(&self.saga);
        if !self.dry_run {
            return page.line(format_args!("{what} of the saga `{saga}` try again"));
        }
        if !self.processes.is_empty() {
            page.table(process::table(&self.processes, Timestamp::now()))?;
        }
        page.line(format_args!(
            "dry run: {what} of the saga `{saga}` would try again"
        ))
    }
}
