//! `ensue engines`: the kinds of engine there are.

use std::io;

use clap::Args;
use ensue::engine::EngineEntry;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};

/// List the kinds of engine, their URLs and options
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue engines
  ensue --json engines | jq '.[] | select(.available).example'")]
pub(crate) struct Engines {}

#[derive(Serialize)]
#[serde(transparent)]
struct Kinds(Vec<Kind>);

#[derive(Serialize)]
struct Kind {
    scheme: &'static str,
    example: &'static str,
    summary: &'static str,
    feature: &'static str,
    available: bool,
    options: Vec<Choice>,
}

#[derive(PartialEq, Serialize)]
struct Choice {
    name: &'static str,
    summary: &'static str,
}

impl Engines {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        let kinds = ensue::engine::engines().iter().map(Kind::of).collect();
        out.report(&Kinds(kinds))
    }
}

impl Kind {
    fn of(entry: &EngineEntry) -> Self {
        let options = entry.options();
        Self {
            scheme: entry.scheme,
            example: entry.example,
            summary: entry.summary,
            feature: entry.feature,
            available: entry.is_available(),
            options: options
                .map(|(name, summary)| Choice { name, summary })
                .collect(),
        }
    }
}

impl Report for Kinds {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        use Column::Text;
        let mut table = Table::new(&[
            Text("ENGINE"),
            Text("URL"),
            Text("IN THIS BUILD"),
            Text("WHAT IT IS"),
        ]);
        for kind in &self.0 {
            let built = match kind.available {
                true => Cell::toned(Tone::Good, "yes"),
                false => Cell::toned(Tone::Dim, format!("feature `{}`", kind.feature)),
            };
            table.row([
                kind.scheme.into(),
                kind.example.into(),
                built,
                kind.summary.into(),
            ]);
        }
        page.table(table)?;
        page.heading("Options, appended to the URL as ?name=value&name=value")?;
        let mut table = Table::new(&[Text("ENGINE"), Text("OPTION"), Text("MEANING")]);
        for (engines, options) in self.by_options() {
            for option in options {
                table.row([
                    engines.as_str().into(),
                    option.name.into(),
                    option.summary.into(),
                ]);
            }
        }
        page.table(table)
    }
}

impl Kinds {
    /// Engines with equal options share their lines.
    fn by_options(&self) -> Vec<(String, &[Choice])> {
        let mut groups: Vec<(String, &[Choice])> = Vec::new();
        for kind in &self.0 {
            match groups
                .iter_mut()
                .find(|(_, options)| *options == kind.options)
            {
                Some((engines, _)) => {
                    engines.push_str(", ");
                    engines.push_str(kind.scheme);
                }
                None => groups.push((kind.scheme.to_owned(), &kind.options)),
            }
        }
        groups
    }
}
