//! `ensue schedule cancel`.

use std::io;

use clap::Args;
use ensue::Engine;
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
}

#[derive(Serialize)]
struct Cancelled {
    asked: usize,
    cancelled: usize,
}

impl Cancel {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let asked = self.ids.len();
        let work = async |engine: &dyn Engine| Ok(engine.cancel(self.ids).await?);
        let cancelled = target.write("nothing was cancelled", work).await?;
        out.report(&Cancelled { asked, cancelled })
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
