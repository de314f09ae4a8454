//! `ensue saga show`.

use std::collections::VecDeque;
use std::io;

use clap::Args;
use ensue::{Cursor, SagaEntry, SagaMoment, SagaProcess, Sagas, Timestamp};
use serde::Serialize;

use super::process;
use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};
use crate::target::Target;

/// Show a process: what it does, what it is stuck at, and its path
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue saga show checkout o-17
  ensue saga show checkout o-17 --all     with the processes that the key had before
  ensue --json saga show checkout o-17 | jq '.path[].what'")]
pub(crate) struct Show {
    /// The saga
    saga: String,
    /// The key of the process
    key: String,
    /// The paths of all processes that the key has had, not only of the last
    #[arg(long)]
    all: bool,
    /// How many events of the path at the most: the last ones
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

/// A process and its path.
#[derive(Serialize)]
struct Shown {
    saga: String,
    key: String,
    /// `null` if none runs.
    process: Option<SagaProcess>,
    path: Vec<SagaEntry>,
    /// How many earlier events are not shown.
    left_out: usize,
}

impl Show {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let sagas = Sagas::of(&*reader);
        let process = sagas.process(&self.saga, &self.key).await?;
        let (path, left_out) = self.path(sagas).await?;
        reader.close().await?;
        if process.is_none() && path.is_empty() {
            return Err(process::unknown(&self.saga, &self.key));
        }
        out.report(&Shown {
            saga: self.saga,
            key: self.key,
            process,
            path: path.into(),
            left_out,
        })
    }

    /// The last events of the path, and how many there were before.
    async fn path(&self, sagas: Sagas<'_>) -> Result<(VecDeque<SagaEntry>, usize), Failure> {
        let (mut kept, mut left_out) = (VecDeque::new(), 0);
        let (mut from, mut has_ended) = (Cursor::START, false);
        loop {
            let page = sagas.path(&self.saga, &self.key, from, 0).await?;
            for entry in page.entries {
                let begins = matches!(entry.moment, SagaMoment::Due { number: 0, .. });
                if begins && has_ended && !self.all {
                    // Another process: what began it is the event before.
                    let first = kept.pop_back();
                    left_out += kept.len();
                    kept = first.into_iter().collect();
                }
                has_ended = match entry.moment {
                    SagaMoment::Ended { .. } => true,
                    SagaMoment::Due { .. } => false,
                    _ => has_ended,
                };
                kept.push_back(entry);
                if kept.len() > usize::from(self.limit) {
                    kept.pop_front();
                    left_out += 1;
                }
            }
            if page.is_end {
                return Ok((kept, left_out));
            }
            from = page.next;
        }
    }
}

impl Report for Shown {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let now = Timestamp::now();
        let text = |text: &str| human::printable(text);
        let mut pairs = vec![("saga", text(&self.saga)), ("key", text(&self.key))];
        match &self.process {
            None => pairs.push(("does", "nothing: it has ended".to_owned())),
            Some(process) => {
                pairs.push(("does", process::phase_in_words(process.phase).to_owned()));
                if !process.step.is_empty() {
                    pairs.push((
                        "step",
                        format!("{} ({})", text(&process.step), process.number),
                    ));
                }
                if let Some(until) = process.until {
                    pairs.push(("until", human::time_and_distance(until, now)));
                }
                if let Some(reason) = &process.reason {
                    pairs.push(("undone for", text(reason)));
                }
                if let Some(stuck) = &process.stuck {
                    let since = human::time_and_distance(stuck.died, now);
                    let parked = human::counted(stuck.parked, "event");
                    let why = page.paint(Tone::Bad, &process::stuck_in_words(stuck));
                    pairs.push(("stuck", why));
                    pairs.push(("since", since));
                    pairs.push(("behind it", format!("{parked} of the process parked")));
                }
            }
        }
        page.pairs(&pairs)?;
        page.heading("Path")?;
        if self.left_out > 0 {
            let before = human::counted(self.left_out, "earlier event");
            page.line(format_args!("{before} left out"))?;
        }
        page.table(table(&self.path))?;
        if self.process.as_ref().is_some_and(|it| it.stuck.is_some()) {
            let (saga, key) = (text(&self.saga), text(&self.key));
            page.line(format_args!(
                "\n`ensue saga retry {saga} {key}` tries again, `ensue saga compensate {saga} {key} --reason WHY` has \
                 it undone"
            ))?;
        }
        Ok(())
    }
}

/// One row an event.
fn table(path: &[SagaEntry]) -> Table {
    use Column::{Number, Text};
    let mut table = Table::new(&[
        Number("POSITION"),
        Text("TIME"),
        Text("WHAT"),
        Number("ATTEMPTS"),
        Text("MORE"),
    ]);
    for entry in path {
        let (what, more) = in_words(&entry.moment);
        let more = match &entry.stuck {
            Some(stuck) => Cell::toned(Tone::Bad, process::stuck_in_words(stuck)),
            None => more.into(),
        };
        let attempts = entry.attempts.map(|it| it.to_string());
        table.row([
            entry.position.to_string().into(),
            human::time(entry.appended).into(),
            Cell::toned(Tone::Strong, what),
            attempts.unwrap_or_default().into(),
            more,
        ]);
    }
    table
}

/// What an event says, and what there is beside it.
fn in_words(moment: &SagaMoment) -> (String, String) {
    let none = String::new;
    match moment {
        SagaMoment::Taken { event_type } => (format!("event {event_type}"), none()),
        SagaMoment::Due { step, .. } => (format!("do {step}"), none()),
        SagaMoment::Undo { step, reason, .. } => {
            (format!("undo {step}"), reason.clone().unwrap_or_default())
        }
        SagaMoment::Waiting { step, until } => (
            format!("{step} waits"),
            format!("until {}", human::time(*until)),
        ),
        SagaMoment::TimedOut { step } => (format!("time of {step} is over"), none()),
        SagaMoment::Compensate { reason } => ("to be undone".to_owned(), reason.clone()),
        SagaMoment::Ended { is_done: true, .. } => ("ended: done".to_owned(), none()),
        SagaMoment::Ended { reason, .. } => (
            "ended: undone".to_owned(),
            reason.clone().unwrap_or_default(),
        ),
        _ => ("unknown".to_owned(), none()),
    }
}
