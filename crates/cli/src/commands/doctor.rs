//! `ensue doctor`: what weakens the engine's promises where it is?

use std::io;

use clap::Args;
use ensue::engine::Finding;
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};
use crate::target::Target;

/// Look at the engine's place: version, durability, rights, space, and what they weaken
#[derive(Args, Debug)]
#[command(
    after_help = "Asks a server once and does not wait for one that is away. Works while an app \
owns a directory.
Exits with 1 when it cannot look, and with --strict when something weakens a promise.

Examples:
  ensue doctor
  ensue --engine amqp://user:password@host/vhost doctor --strict
  ensue --json doctor | jq '.findings[] | select(.weakens)'"
)]
pub(crate) struct Doctor {
    /// Exit with 1 when something weakens a promise
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct Examined {
    /// Whether nothing weakens a promise.
    good: bool,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let findings = ensue::engine::examine(target.url()).await?;
        let good = findings.iter().all(|finding| finding.weakens.is_none());
        out.report(&Examined { good, findings })?;
        match good || !self.strict {
            true => Ok(()),
            false => Err(Failure::Reported),
        }
    }
}

impl Report for Examined {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Text("ASPECT"),
            Column::Text("FOUND"),
            Column::Text("WEAKENS"),
            Column::Text("ADVICE"),
        ]);
        for finding in &self.findings {
            let weakens = match &finding.weakens {
                None => Cell::toned(Tone::Good, "nothing"),
                Some(weakens) => Cell::toned(Tone::Warn, weakens),
            };
            table.row([
                finding.aspect.as_str().into(),
                finding.found.as_str().into(),
                weakens,
                finding.advice.as_deref().unwrap_or("-").into(),
            ]);
        }
        page.table(table)?;
        page.line("")?;
        let weak = self.findings.iter().filter(|it| it.weakens.is_some());
        let verdict = match weak.count() {
            0 => page.paint(Tone::Good, "good: nothing weakens a promise"),
            count => {
                let count = human::counted(count, "finding");
                page.paint(Tone::Warn, &format!("beware: {count} to weigh"))
            }
        };
        page.line(verdict)
    }
}
