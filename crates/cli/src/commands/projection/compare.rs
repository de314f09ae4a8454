//! `ensue projection compare`.

use std::io;
use std::time::Duration;

use clap::Args;
use ensue_sql::Comparison;
use serde::Serialize;

use super::Database;
use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};

/// Compare two versions at one position: rows, and a checksum over them, of each table
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue projection compare orders 1 2 --database sqlite:shop.db
  ensue projection compare orders 1 2 && ensue projection switch orders 2
Exit code 1 when they differ.")]
pub(super) struct Compare {
    /// The projection
    projection: String,
    /// One version
    first: i64,
    /// The other one
    second: i64,
    /// How long they may be held for it at the most
    #[arg(long, value_parser = ensue::parse_duration, default_value = "60s", value_name = "DURATION")]
    within: Duration,
    #[command(flatten)]
    database: Database,
}

#[derive(Serialize)]
struct Compared {
    is_equal: bool,
    #[serde(flatten)]
    comparison: Comparison,
}

impl Compare {
    pub(super) async fn run(self, out: &Output) -> Result<(), Failure> {
        let projections = self.database.projections().await?;
        let versions = [self.first, self.second];
        let comparison = projections.compare(&self.projection, versions, self.within);
        let comparison = comparison.await?;
        let is_equal = comparison.is_equal();
        out.report(&Compared {
            is_equal,
            comparison,
        })?;
        match is_equal {
            true => Ok(()),
            false => Err(Failure::Reported),
        }
    }
}

impl Report for Compared {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let it = &self.comparison;
        let [first, second] = it.versions;
        let mut table = Table::new(&[
            Column::Text("TABLE"),
            Column::Number("ROWS OF ONE"),
            Column::Number("OF THE OTHER"),
            Column::Text("CONTENTS"),
        ]);
        for (name, [one, other]) in &it.tables {
            let contents = match one == other {
                true => Cell::toned(Tone::Good, "the same"),
                false => Cell::toned(Tone::Bad, "different"),
            };
            let rows = |rows: i64| Cell::from(human::count(u64::try_from(rows).unwrap_or(0)));
            table.row(vec![
                Cell::from(name),
                rows(one.rows),
                rows(other.rows),
                contents,
            ]);
        }
        page.line(format_args!(
            "versions {first} and {second} of `{}`, both at position {}",
            it.projection, it.position
        ))?;
        page.table(table)?;
        if it.aside != [0, 0] {
            let [one, other] = it.aside;
            let said =
                format!("keys that wait behind what could not be applied: {one} and {other}");
            let said = page.paint(Tone::Warn, &said);
            page.line(said)?;
        }
        Ok(())
    }
}
