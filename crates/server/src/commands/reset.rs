//! `ensue reset`: move a group to another place in the log.

use std::io;

use clap::Args;
use ensue::engine::{EngineStatus, Query};
use ensue::{Engine, Error, Position, Start, TopicPattern};
use serde::Serialize;

use super::confirm::confirm;
use crate::args::StartArg;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::Target;

/// Move a group: let it handle events again, or skip some
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue reset payments --to earliest --dry-run
  ensue reset payments --to 2026-05-17T09:30:00Z --yes
  ensue reset payments --to 2h --yes    two hours back
  ensue reset payments --to 4711 --yes  a position")]
pub(crate) struct Reset {
    /// The group
    group: String,
    /// Where to: `earliest`, `latest`, a position or a time
    #[arg(long, value_name = "WHERE")]
    to: StartArg,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Moved {
    group: String,
    dry_run: bool,
    from: Position,
    to: Position,
}

impl Reset {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let status = reader.status().await?;
        let group = status
            .group(&self.group)
            .ok_or_else(|| Error::UnknownGroup(self.group.clone()))?;
        let to = self.to.resolve(reader.clock().now());
        let moved = Moved {
            group: self.group.clone(),
            dry_run: self.dry_run,
            from: group.position,
            to: position_of(&*reader, &status, to).await?,
        };
        reader.close().await?;
        if !self.dry_run {
            confirm(&moved.plan(), self.yes)?;
            let work = async |engine: &dyn Engine| {
                engine.reset(&self.group, to).await?;
                Ok(())
            };
            target.write("the group was not moved", work).await?;
        }
        out.report(&moved)
    }
}

/// The position that `start` means in this log.
async fn position_of(
    engine: &dyn Engine,
    status: &EngineStatus,
    start: Start,
) -> Result<Position, Failure> {
    match start {
        Start::Earliest => Ok(status.first),
        Start::Latest => Ok(status.end),
        Start::Position(position) => Ok(position),
        Start::Time(since) => {
            let page = engine
                .read(Query {
                    topics: Some(TopicPattern::all()),
                    since: Some(since),
                    limit: 1,
                    ..Query::default()
                })
                .await?;
            let first = page.events.first();
            Ok(first.map_or(status.end, |event| event.position))
        }
    }
}

impl Moved {
    fn plan(&self) -> String {
        let Self {
            group, from, to, ..
        } = self;
        let group = human::printable(group);
        let consequence = match to.get().checked_sub(from.get()) {
            Some(0) => "it stays where it is".to_owned(),
            Some(ahead) => format!(
                "events of the {} positions between will be skipped",
                human::count(ahead)
            ),
            None => format!(
                "events of the {} positions between will be handled again",
                human::count(from.get().saturating_sub(to.get()))
            ),
        };
        format!("moving group `{group}` from position {from} to {to}: {consequence}")
    }
}

impl Report for Moved {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let Self {
            group, from, to, ..
        } = self;
        match self.dry_run {
            true => page.line(format_args!("dry run: {}", self.plan())),
            false => page.line(format_args!(
                "moved group `{}` from position {from} to {to}",
                human::printable(group)
            )),
        }
    }
}
