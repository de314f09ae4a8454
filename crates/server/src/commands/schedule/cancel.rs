//! `ensue schedule cancel`.

use std::io;

use clap::Args;
use ensue::engine::READ_EVENTS_MAX;
use ensue::{Engine, EventId};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::Target;

/// Cancel events that wait for their time
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue schedule cancel reminder-17
  ensue --json schedule list | jq -r '.[].event.id' | xargs ensue schedule cancel")]
pub(crate) struct Cancel {
    /// Ids of the events
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// The events' source; needed when several sources scheduled an event with one of the ids
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
        let asked = self.ids.len();
        let work = async |engine: &dyn Engine| {
            let events = self.events(engine).await?;
            Ok(engine.cancel(events).await?)
        };
        let cancelled = target.write("nothing was cancelled", work).await?;
        out.report(&Cancelled { asked, cancelled })
    }

    /// Which events are meant.
    async fn events(&self, engine: &dyn Engine) -> Result<Vec<EventId>, Failure> {
        if let Some(source) = &self.source {
            let ids = self.ids.iter();
            return Ok(ids.map(|id| EventId::new(source, id)).collect());
        }
        let scheduled = engine.scheduled(READ_EVENTS_MAX).await?;
        let is_whole = scheduled.len() < READ_EVENTS_MAX;
        let mut events = Vec::new();
        for id in &self.ids {
            let of_id = scheduled.iter().filter(|it| it.envelope.id() == id);
            let found: Vec<_> = of_id.map(|it| it.envelope.event_id()).collect();
            match found.as_slice() {
                [] if is_whole => {}
                [event] => events.push(event.clone()),
                _ => return Err(which_source(id, &found)),
            }
        }
        Ok(events)
    }
}

/// An id alone does not say which event is meant.
fn which_source(id: &str, found: &[EventId]) -> Failure {
    let id = human::printable(id);
    let sources: Vec<_> = found
        .iter()
        .map(|it| human::printable(it.source()))
        .collect();
    match sources.as_slice() {
        [] => Failure::new(
            "ambiguous",
            format!("`{id}` is not among the next {READ_EVENTS_MAX} scheduled events"),
            "say whose event it is with --source",
        ),
        sources => Failure::new(
            "ambiguous",
            format!("`{id}` is scheduled by several sources"),
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
                human::counted(missing, "id")
            )),
        }
    }
}
