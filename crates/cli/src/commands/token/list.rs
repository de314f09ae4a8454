//! `ensue token list`.

use std::io;

use clap::Args;
use ensue::Timestamp;
use ensue_server::{Config, TokenEntry};
use serde::Serialize;

use super::Place;
use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};

/// List the tokens: whose they are, never what they are
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue token list --config ensue.toml
  ensue --json token list --config ensue.toml | jq -r '.[] | select(.expired) | .id'")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<Row>);

#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    roles: Vec<String>,
    /// Those that the configuration does not have, and that allow nothing.
    unknown_roles: Vec<String>,
    created: Timestamp,
    expires: Option<Timestamp>,
    expired: bool,
}

impl Row {
    fn of(entry: TokenEntry, config: &Config, now: Timestamp) -> Self {
        let is_unknown = |role: &&String| config.check_role(role).is_err();
        Self {
            expired: entry.is_expired(now),
            unknown_roles: entry.roles.iter().filter(is_unknown).cloned().collect(),
            id: entry.id,
            name: entry.name,
            roles: entry.roles,
            created: entry.created,
            expires: entry.expires,
        }
    }
}

impl List {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let (config, file) = self.place.open()?;
        let now = Timestamp::now();
        let tokens = file.list_or_none()?;
        if tokens.is_empty() {
            out.note("there are no tokens; `ensue token create` makes one");
        }
        let rows = tokens.into_iter().map(|it| Row::of(it, &config, now));
        let rows: Vec<Row> = rows.collect();
        for row in rows.iter().filter(|row| !row.unknown_roles.is_empty()) {
            out.note(format_args!(
                "token {} has roles that are not in the configuration and allow nothing: {}",
                row.id,
                row.unknown_roles.join(", ")
            ));
        }
        out.report(&Listed(rows))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        use Column::Text;
        if self.0.is_empty() {
            return Ok(());
        }
        let columns = ["ID", "NAME", "ROLES", "CREATED", "EXPIRES"].map(Text);
        let mut table = Table::new(&columns);
        for row in &self.0 {
            let expires = match row.expires {
                None => Cell::toned(Tone::Warn, "never"),
                Some(at) if row.expired => {
                    Cell::toned(Tone::Bad, format!("expired {}", human::time(at)))
                }
                Some(at) => human::time(at).into(),
            };
            table.row([
                Cell::from(&row.id),
                Cell::toned(Tone::Strong, &row.name),
                row.roles.join(", ").into(),
                human::time(row.created).into(),
                expires,
            ]);
        }
        page.table(table)
    }
}
