//! `ensue schedule cancel`.

use std::io;

use clap::Args;
use ensue::EventId;
use ensue::engine::Driver;
use ensue::engine::READ_EVENTS_MAX;
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "nothing was cancelled",
    method: "Engine::cancel",
};

/// Cancel events that wait for their time
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue schedule cancel o-17
  ensue --json schedule list | jq -r '.[].name' | xargs ensue schedule cancel")]
pub(crate) struct Cancel {
    /// Names of the timers, or ids of the events
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The events' source; needed when several sources use one of the names
    #[arg(long, value_name = "URI")]
    source: Option<String>,
}

#[derive(Serialize)]
struct Cancelled {
    asked: usize,
    cancelled: usize,
}

impl Cancel {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let asked = self.names.len();
        let work = async |engine: &dyn Driver| {
            let names = self.whole_names(engine).await?;
            Ok(engine.cancel(names).await?)
        };
        let cancelled = target.write(CHANGE, work).await?;
        out.report(&Cancelled { asked, cancelled })
    }

    /// What is meant.
    async fn whole_names(&self, engine: &dyn Driver) -> Result<Vec<EventId>, Failure> {
        if let Some(source) = &self.source {
            let names = self.names.iter();
            return Ok(names.map(|name| EventId::new(source, name)).collect());
        }
        let scheduled = engine.scheduled(READ_EVENTS_MAX).await?;
        let is_whole = scheduled.len() < READ_EVENTS_MAX;
        let mut names = Vec::new();
        for name in &self.names {
            let same = scheduled.iter().filter(|it| it.name.id() == name);
            let found: Vec<_> = same.map(|it| it.name.clone()).collect();
            match found.as_slice() {
                [] if is_whole => {}
                [whole] => names.push(whole.clone()),
                _ => return Err(which_source(name, &found)),
            }
        }
        Ok(names)
    }
}

/// A name alone does not say what is meant.
fn which_source(name: &str, found: &[EventId]) -> Failure {
    let name = human::printable(name);
    let sources: Vec<_> = found
        .iter()
        .map(|it| human::printable(it.source()))
        .collect();
    match sources.as_slice() {
        [] => Failure::new(
            "ambiguous",
            format!("`{name}` is not among the next {READ_EVENTS_MAX} scheduled events"),
            "say whose event it is with --source",
        ),
        sources => Failure::new(
            "ambiguous",
            format!("`{name}` is scheduled by several sources"),
            format!("add --source with one of {}", sources.join(", ")),
        ),
    }
}

impl Report for Cancelled {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line(format_args!(
            "cancelled {}",
            human::counted(self.cancelled, "scheduled event")
        ))?;
        match self.asked.saturating_sub(self.cancelled) {
            0 => Ok(()),
            missing => page.line(format_args!(
                "{} not pending: appended already, cancelled before or never scheduled",
                human::counted(missing, "name")
            )),
        }
    }
}
