//! `ensue delete`: forget a group.

use std::io;

use clap::Args;
use serde::Serialize;

use super::confirm::confirm;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "the group was not deleted",
    method: "Engine::delete_group",
};

/// Forget a group: its position, its dead letters, its state
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue delete payments --dry-run       what would be lost
  ensue delete payments --yes")]
pub(crate) struct Delete {
    /// The group
    group: String,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Deleted {
    group: String,
    dry_run: bool,
    dead: usize,
    retrying: usize,
    parked: usize,
}

impl Delete {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let group = target.reader().await?.group(&self.group).await?;
        let deleted = Deleted {
            group: self.group.clone(),
            dry_run: self.dry_run,
            dead: group.dead,
            retrying: group.retrying,
            parked: group.parked,
        };
        if !self.dry_run {
            confirm(&deleted.plan(), self.yes)?;
            let work = async |engine: &dyn ensue::engine::Driver| {
                engine.delete_group(&self.group).await?;
                Ok(())
            };
            target.write(CHANGE, work).await?;
        }
        out.report(&deleted)
    }
}

impl Deleted {
    fn plan(&self) -> String {
        format!(
            "deleting group `{}` forgets its position, its state, {} and {} that wait for an \
             attempt or are parked; an app that makes it again handles events from its start and \
             publishes their effects again",
            human::printable(&self.group),
            human::counted(self.dead, "dead letter"),
            human::counted(self.retrying + self.parked, "event")
        )
    }
}

impl Report for Deleted {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        match self.dry_run {
            true => page.line(format_args!("dry run: {}", self.plan())),
            false => page.line(format_args!(
                "deleted group `{}` and {}",
                human::printable(&self.group),
                human::counted(self.dead, "dead letter")
            )),
        }
    }
}
