//! What `redrive` and `discard` share: choosing dead letters, showing which ones it would be, and
//! saying how many it were.

use std::io;

use clap::Args;
use ensue::Timestamp;
use ensue::engine::DeadLetterFilter;
use ensue::engine::Driver;
use serde::Serialize;

use super::letter::{self, Letter};
use crate::args::DeadLetterArgs;
use crate::failure::Failure;
use crate::human;
use crate::output::{Page, Report};

/// A group, and which of its dead letters.
#[derive(Args, Debug)]
pub(super) struct Selection {
    /// The group
    pub(super) group: String,
    /// All of the group's dead letters
    #[arg(long)]
    all: bool,
    /// Only show which ones it would be
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    filter: DeadLetterArgs,
}

impl Selection {
    /// The engine's form of the restrictions; all of them must be asked for by name.
    pub(super) fn filter(&self, now: Timestamp) -> Result<DeadLetterFilter, Failure> {
        let filter = self.filter.clone().resolve(now);
        if self.all == filter.is_unrestricted() {
            return Ok(filter);
        }
        Err(Failure::Usage(if self.all {
            "--all and a restriction contradict each other; drop one of them".to_owned()
        } else {
            "which dead letters? Restrict them (--id, --source, --type, --key, --reason, --since, \
             --limit) or say --all"
                .to_owned()
        }))
    }

    /// The dead letters that are meant, as they are now.
    pub(super) async fn letters(
        &self,
        engine: &dyn Driver,
        filter: DeadLetterFilter,
    ) -> Result<Vec<Letter>, Failure> {
        let letters = engine.dead_letters(Some(&self.group), filter).await?;
        Ok(letters.iter().map(Letter::of).collect())
    }
}

/// What happened, or would happen, to how many.
#[derive(Serialize)]
pub(super) struct Outcome {
    pub(super) group: String,
    pub(super) dry_run: bool,
    pub(super) count: usize,
    /// Which ones; only a dry run knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) letters: Option<Vec<Letter>>,
    #[serde(skip)]
    pub(super) verb: &'static str,
}

impl Report for Outcome {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let what = human::counted(self.count, "dead letter");
        let Self { verb, group, .. } = self;
        let group = human::printable(group);
        match &self.letters {
            None => page.line(format_args!("{verb} {what} of group `{group}`")),
            Some(letters) => {
                if !letters.is_empty() {
                    page.table(letter::table(letters, Timestamp::now()))?;
                }
                page.line(format_args!(
                    "dry run: {what} of group `{group}` would be {verb}"
                ))
            }
        }
    }
}
