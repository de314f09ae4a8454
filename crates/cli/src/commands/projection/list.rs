//! `ensue projection list`.

use std::io;

use clap::Args;
use ensue_sql::VersionStatus;
use serde::Serialize;

use super::Database;
use super::progress::percent;
use crate::failure::Failure;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};

/// List versions: which is read, how far each is, who builds it
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue projection list --database postgres://shop@localhost/shop
  ENSUE_DATABASE=sqlite:shop.db ensue projection list orders
  ensue --json projection list --database sqlite:shop.db | jq '.[] | select(.owner == null)'")]
pub(super) struct List {
    /// Only this projection
    projection: Option<String>,
    #[command(flatten)]
    database: Database,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<VersionStatus>);

impl List {
    pub(super) async fn run(self, out: &Output) -> Result<(), Failure> {
        let projections = self.database.projections().await?;
        let all = projections.list(self.projection.as_deref()).await?;
        if all.is_empty() {
            out.note("no projections yet; a program registers its own when it starts");
        }
        out.report(&Listed(all))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(&[
            Column::Text("PROJECTION"),
            Column::Number("VERSION"),
            Column::Number("REVISION"),
            Column::Text("STATE"),
            Column::Number("POSITION"),
            Column::Number("OF THE LOG"),
            Column::Number("WAITING KEYS"),
            Column::Text("GROUP"),
            Column::Text("BUILT BY"),
        ]);
        for version in &self.0 {
            table.row(row(version));
        }
        page.table(table)
    }
}

fn row(version: &VersionStatus) -> Vec<Cell> {
    let state = match (version.is_active, version.is_retired) {
        (true, _) => Cell::toned(Tone::Good, "is read"),
        (_, true) => Cell::toned(Tone::Dim, "retired"),
        _ => Cell::from("beside"),
    };
    let owner = match (&version.owner, version.is_retired) {
        (Some(owner), _) => Cell::from(owner),
        (None, true) => Cell::toned(Tone::Dim, "-"),
        (None, false) => Cell::toned(Tone::Warn, "nobody"),
    };
    vec![
        Cell::from(&version.projection),
        Cell::from(version.version.to_string()),
        Cell::from(version.revision.to_string()),
        state,
        Cell::from(version.position.to_string()),
        Cell::from(percent(version)),
        Cell::count(Tone::Warn, version.aside),
        Cell::from(&version.group),
        owner,
    ]
}
