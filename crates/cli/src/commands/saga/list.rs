//! `ensue saga list`.

use std::io;

use clap::Args;
use ensue::{SagaProcess, Sagas, Timestamp};
use serde::Serialize;

use super::process;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::Target;

/// List the processes that run, by saga and key
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue saga list
  ensue saga list --stuck
  ensue saga list checkout --after o-4711
  ensue --json saga list --stuck | jq -r '.[].key'")]
pub(crate) struct List {
    /// Only those of this saga
    #[arg(value_name = "SAGA")]
    saga: Option<String>,
    /// Only those that do not go on by themselves; those that are stuck longest come first
    #[arg(long, conflicts_with = "after")]
    stuck: bool,
    /// Only those behind this key
    #[arg(long, value_name = "KEY", requires = "saga")]
    after: Option<String>,
    /// How many at the most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<SagaProcess>);

impl List {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let sagas = Sagas::of(&*reader);
        let groups = match &self.saga {
            Some(saga) => vec![reader.group(saga).await?],
            None => sagas.groups().await?,
        };
        let limit = usize::from(self.limit);
        let mut processes = Vec::new();
        // One more than is shown tells whether there are more.
        for group in &groups {
            let room = limit + 1 - processes.len();
            if room == 0 {
                break;
            }
            processes.extend(match self.stuck {
                true if group.dead == 0 => Vec::new(),
                true => sagas.stuck(&group.name, room).await?,
                false => {
                    sagas
                        .running(&group.name, self.after.as_deref(), room)
                        .await?
                }
            });
        }
        let is_more = processes.len() > limit;
        processes.truncate(limit);
        if processes.is_empty() {
            out.note(match self.stuck {
                true => "no process is stuck",
                false => {
                    "no process runs; `ensue saga show SAGA KEY --all` shows those that have ended"
                }
            });
        }
        if is_more {
            out.note("there are more; choose some by SAGA and --after KEY, or raise --limit");
        }
        let dead: usize = groups.iter().map(|group| group.dead).sum();
        if dead > 0 && !self.stuck {
            out.note(format_args!(
                "the sagas have {}: `ensue saga list --stuck` shows what is stuck",
                human::counted(dead, "dead letter")
            ));
        }
        reader.close().await?;
        out.report(&Listed(processes))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        page.table(process::table(&self.0, Timestamp::now()))
    }
}
