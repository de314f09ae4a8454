//! `ensue groups`: who reads what, and how far they are.

use std::io;

use clap::Args;
use ensue::Timestamp;
use ensue::engine::GroupStatus;
use serde::Serialize;

use super::group_rows;
use crate::failure::Failure;
use crate::output::{Output, Page, Report};
use crate::target::Target;

/// List the groups: position, lag, retries, dead letters, members
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue groups
  ensue --json groups | jq '.[] | select(.lag > 1000).name'")]
pub(crate) struct Groups {}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<GroupStatus>);

impl Groups {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let groups = target.reader().await?.status().await?.groups;
        if groups.is_empty() {
            out.note("no groups yet; a service makes its group when its app first runs");
        }
        out.report(&Listed(groups))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        page.table(group_rows::table(&self.0, Timestamp::now()))
    }
}
