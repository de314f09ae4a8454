//! `ensue check`: is what is stored what was written?

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ensue::engine::embedded::{self, Damage, Report as Verified};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Column, Output, Page, Report, Table, Tone};
use crate::target::Target;

/// Verify every checksum of the log; works while an app owns it
#[derive(Args, Debug)]
#[command(
    after_help = "Reads the whole log. Exits with 1 when something is damaged, and names the \
file and the byte.

Examples:
  ensue check
  ensue --json check | jq '.damage[] | {file, offset}'"
)]
pub(crate) struct Check {}

#[derive(Serialize)]
struct Checked {
    good: bool,
    directory: PathBuf,
    segments: u64,
    records: u64,
    bytes: u64,
    /// The oldest position that was looked at.
    first: u64,
    /// The position after the newest one.
    end: u64,
    damage: Vec<Damaged>,
    #[serde(skip)]
    took: Duration,
}

#[derive(Serialize)]
struct Damaged {
    /// The file, where it is known.
    file: Option<String>,
    /// The byte of the file at which the damage was noticed.
    offset: Option<u64>,
    /// What is wrong, and what to do.
    message: String,
}

impl Check {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let Some(directory) = ensue::engine::directory_of(target.url())? else {
            return Err(Failure::new(
                "unsupported",
                format!("`{}` has no files to check", human::printable(target.url())),
                "checksums belong to the embedded engine: --engine embedded:DIR",
            ));
        };
        target.require_directory()?;
        let (path, bar) = (directory.clone(), progress_bar());
        let begin = Instant::now();
        let verify = move || {
            let verified = embedded::check(&path, &mut |progress| {
                bar.set_length(progress.bytes_total);
                bar.set_position(progress.bytes);
            });
            bar.finish_and_clear();
            verified
        };
        let verified = tokio::task::spawn_blocking(verify).await.map_err(|error| {
            Failure::new(
                "panicked",
                error.to_string(),
                "this is a bug: please report it",
            )
        })?;
        let verified = verified.map_err(|error| target.explain(error))?;
        let checked = Checked::of(verified, directory, begin.elapsed());
        out.report(&checked)?;
        match checked.good {
            true => Ok(()),
            false => Err(Failure::Reported),
        }
    }
}

/// On stderr, and only on a terminal.
fn progress_bar() -> ProgressBar {
    const FORM: &str =
        "{bar:40} {percent:>3} %  {binary_bytes} of {binary_total_bytes}, {eta} left";
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(FORM) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Checked {
    fn of(verified: Verified, directory: PathBuf, took: Duration) -> Self {
        Self {
            good: verified.is_good(),
            directory,
            segments: verified.segments,
            records: verified.records,
            bytes: verified.bytes,
            first: verified.first.get(),
            end: verified.end.get(),
            damage: verified.damage.into_iter().map(Damaged::of).collect(),
            took,
        }
    }
}

impl Damaged {
    fn of(damage: Damage) -> Self {
        let message = damage.to_string();
        let (file, offset) = match damage {
            Damage::Corrupt { file, offset, .. } => (Some(file), Some(offset)),
            Damage::Version { file, .. } => (Some(file), None),
            _ => (None, None),
        };
        Self {
            file,
            offset,
            message,
        }
    }
}

impl Report for Checked {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.pairs(&[
            (
                "directory",
                human::printable(&self.directory.to_string_lossy()),
            ),
            ("segments", human::count(self.segments)),
            ("records", human::count(self.records)),
            (
                "positions",
                format!("{} to before {}", self.first, self.end),
            ),
            (
                "verified",
                format!(
                    "{} in {}",
                    human::bytes(self.bytes),
                    human::duration(self.took)
                ),
            ),
        ])?;
        if self.good {
            let verdict = page.paint(Tone::Good, "good: every checksum is right");
            return page.line(verdict);
        }
        let count = human::counted(self.damage.len(), "place");
        page.heading(&format!("Damaged: {count}"))?;
        let mut table = Table::new(&[
            Column::Text("FILE"),
            Column::Number("BYTE"),
            Column::Text("WHAT IS WRONG"),
        ]);
        for damage in &self.damage {
            let offset = damage
                .offset
                .map_or("-".to_owned(), |offset| offset.to_string());
            table.row([
                damage.file.as_deref().unwrap_or("-").into(),
                offset.into(),
                damage.message.as_str().into(),
            ]);
        }
        page.table(table)
    }
}
