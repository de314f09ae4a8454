//! `ensue engines`: the kinds of engine there are.

use std::io;

use clap::Args;
use ensue::engine::{Atomicity, DedupWindow, EngineEntry, Guarantees};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};

/// List the kinds of engine, what they promise, their URLs and options
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue engines
  ensue --json engines | jq '.[] | select(.available).example'
  ensue engines --markdown")]
pub(crate) struct Engines {
    /// Print only what each engine promises, as a table in Markdown
    #[arg(long)]
    markdown: bool,
}

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
    guarantees: Guarantees,
    power_cut: &'static str,
    options: Vec<Choice>,
}

#[derive(PartialEq, Serialize)]
struct Choice {
    name: &'static str,
    summary: &'static str,
}

impl Engines {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        let kinds = Kinds(ensue::engine::engines().iter().map(Kind::of).collect());
        match self.markdown {
            true => out.report(&Markdown(kinds)),
            false => out.report(&kinds),
        }
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
            guarantees: entry.guarantees,
            power_cut: entry.power_cut,
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
        page.heading("What they promise, with their own and their servers' defaults")?;
        let promises = self.promises();
        let names = self.0.iter().map(|kind| Text(kind.scheme));
        let columns: Vec<Column> = std::iter::once(Text("PROMISE")).chain(names).collect();
        let mut table = Table::new(&columns);
        for (promise, given) in &promises {
            let cells = given.iter().map(Cell::from);
            table.row(std::iter::once(Cell::from(promise)).chain(cells));
        }
        page.table(table)?;
        page.heading("When the power fails")?;
        let mut table = Table::new(&[Text("ENGINE"), Text("ACKNOWLEDGED EVENTS")]);
        for kind in &self.0 {
            table.row([kind.scheme, kind.power_cut].map(Cell::from));
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

/// The promises alone, for a page of documentation.
#[derive(Serialize)]
#[serde(transparent)]
struct Markdown(Kinds);

impl Report for Markdown {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let Self(kinds) = self;
        let line = |first: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.collect();
            format!("| {first} | {} |", cells.join(" | "))
        };
        let names = &mut kinds.0.iter().map(|kind| format!("`{}`", kind.scheme));
        page.line(line("promise", names))?;
        page.line(line("---", &mut kinds.0.iter().map(|_| "---".to_owned())))?;
        for (promise, given) in kinds.promises() {
            page.line(line(&promise, &mut given.into_iter()))?;
        }
        page.line("")?;
        page.line("| engine | when the power fails |")?;
        page.line("| --- | --- |")?;
        for kind in &kinds.0 {
            page.line(format!("| `{}` | {} |", kind.scheme, kind.power_cut))?;
        }
        Ok(())
    }
}

impl Kinds {
    /// Each promise, and how each engine keeps it.
    fn promises(&self) -> Vec<(String, Vec<String>)> {
        let row = |promise: &str, given: &dyn Fn(&Guarantees) -> String| {
            let given = self.0.iter().map(|kind| given(&kind.guarantees));
            (promise.to_owned(), given.collect())
        };
        let yes = |given: bool| if given { "yes" } else { "no" }.to_owned();
        vec![
            row("survives a power cut", &|it| {
                yes(it.durable_on_acknowledge && it.survives_restart)
            }),
            row("outlives its processes", &|it| yes(it.survives_restart)),
            row("order per key", &|_| yes(true)),
            row("atomic commits", &|it| yes(it.commit == Atomicity::Atomic)),
            row("remembered ids", &|it| match it.dedup {
                DedupWindow::Events(events) => human::count(events),
                DedupWindow::Time(time) => human::duration(time),
            }),
            row("conditional append", &|it| yes(it.conditional_append)),
            row("schedules", &|it| yes(it.schedules)),
            row("replay and queries", &|it| yes(it.replay)),
            row("several processes", &|it| yes(it.multi_process)),
            row("a dead member's keys move", &|it| match it.multi_process {
                true => format!("after {}", human::duration(it.failover)),
                false => "at once".to_owned(),
            }),
        ]
    }

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
