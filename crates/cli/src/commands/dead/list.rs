//! `ensue dead list`.

use std::io;

use clap::Args;
use ensue::Timestamp;
use serde::Serialize;

use super::letter::{self, Letter};
use crate::args::DeadLetterArgs;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::Target;

/// List dead letters: those that died first come first
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue dead list
  ensue dead list payments --since 2h
  ensue --json dead list --reason timeout | jq -r '.[].id'")]
pub(crate) struct List {
    /// Only those of this group
    #[arg(value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    filter: DeadLetterArgs,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<Letter>);

impl List {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let group = self.group.as_deref();
        let filter = self.filter.resolve(reader.clock().now());
        let is_filtered = !filter.is_unrestricted();
        let letters = reader.dead_letters(group, filter).await?;
        if letters.is_empty() && is_filtered {
            out.note("no dead letter matches; `ensue dead list` lists all");
        } else if letters.is_empty() {
            out.note("no dead letters: everything that was delivered was handled");
        }
        let damaged = letters.iter().filter(|it| it.envelope.is_err()).count();
        if damaged > 0 {
            out.note(format_args!(
                "{} cannot be read; `ensue check` says what is damaged, `ensue dead discard GROUP \
                 --id ID` gives one up",
                human::counted(damaged, "dead letter")
            ));
        }
        out.report(&Listed(letters.iter().map(Letter::of).collect()))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        page.table(letter::table(&self.0, Timestamp::now()))
    }
}
