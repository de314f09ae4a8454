//! `ensue salvage`: what is left of a damaged log, in a new one.

use std::io;
use std::path::PathBuf;

use clap::Args;
use ensue::engine::embedded::{self, Salvaged};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Column, Output, Page, Report, Table, Tone};
use crate::target::Target;

/// Copy what can be read of a damaged log into a new directory
#[derive(Args, Debug)]
#[command(
    after_help = "Leaves the damaged log as it is. Records keep their positions; what is lost is \
named. Stop the app first, and give the new directory to it afterwards.

Examples:
  ensue check                       # says what is damaged
  ensue salvage --to ./salvaged
  ensue --json salvage --to ./salvaged | jq '.lost[]'"
)]
pub(crate) struct Salvage {
    /// The directory of the new log: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Serialize)]
struct Copied {
    directory: PathBuf,
    /// The first position of the new log.
    first: u64,
    /// The position after its last record.
    end: u64,
    records: u64,
    checkpoints: u64,
    lost: Vec<Lost>,
}

#[derive(Serialize)]
struct Lost {
    /// The first position that is lost.
    from: u64,
    /// The position after the last one; unknown at the end of the log.
    to: Option<u64>,
    file: String,
    offset: u64,
}

impl Salvage {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let Some(from) = target.directory() else {
            return Err(Failure::new(
                "unsupported",
                format!(
                    "`{}` has no files to salvage",
                    human::printable(target.url())
                ),
                "files belong to the embedded engine: --engine embedded:DIR",
            ));
        };
        target.require_directory()?;
        let to = self.to.clone();
        let copy = move || embedded::salvage(&from, &to);
        let salvaged = tokio::task::spawn_blocking(copy).await.map_err(|error| {
            Failure::new(
                "panicked",
                error.to_string(),
                "this is a bug: please report it",
            )
        })?;
        let salvaged = salvaged.map_err(|error| self.explain(target, error))?;
        out.report(&Copied::of(salvaged, self.to))
    }

    fn explain(&self, target: &Target, error: ensue::Error) -> Failure {
        match &error {
            ensue::Error::Engine(ensue::error::EngineError::Io { reason: source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Failure::new(
                    "exists",
                    format!("there is a log in `{}` already", self.to.display()),
                    "name a new directory with --to",
                )
            }
            ensue::Error::Engine(ensue::error::EngineError::Io { reason: source, .. })
                if source.kind() == io::ErrorKind::NotADirectory =>
            {
                Failure::new(
                    "not_a_directory",
                    format!("`{}` is not a directory", self.to.display()),
                    "name a new directory with --to",
                )
            }
            _ => target.explain(error),
        }
    }
}

impl Copied {
    fn of(salvaged: Salvaged, directory: PathBuf) -> Self {
        let lost = salvaged.lost.into_iter().map(|loss| Lost {
            from: loss.from.get(),
            to: loss.to.map(|to| to.get()),
            file: loss.file,
            offset: loss.offset,
        });
        Self {
            directory,
            first: salvaged.first.get(),
            end: salvaged.end.get(),
            records: salvaged.records,
            checkpoints: salvaged.checkpoints,
            lost: lost.collect(),
        }
    }
}

impl Report for Copied {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.pairs(&[
            (
                "new log",
                human::printable(&self.directory.to_string_lossy()),
            ),
            ("records", human::count(self.records)),
            (
                "positions",
                format!("{} to before {}", self.first, self.end),
            ),
            ("checkpoints", human::count(self.checkpoints)),
        ])?;
        if self.lost.is_empty() {
            let verdict = page.paint(Tone::Good, "nothing is lost");
            return page.line(verdict);
        }
        let count = human::counted(self.lost.len(), "place");
        page.heading(&format!("Lost: {count}"))?;
        let mut table = Table::new(&[
            Column::Number("FROM"),
            Column::Number("TO BEFORE"),
            Column::Text("FILE"),
            Column::Number("BYTE"),
        ]);
        for lost in &self.lost {
            let to = lost.to.map_or("unknown".to_owned(), |to| to.to_string());
            table.row([
                lost.from.to_string().into(),
                to.into(),
                lost.file.as_str().into(),
                lost.offset.to_string().into(),
            ]);
        }
        page.table(table)
    }
}
