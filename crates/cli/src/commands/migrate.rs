//! `ensue migrate`: a whole log to another engine.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use ensue::engine::{Migrated, Progress, Step, migrate};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report, Tone};

/// Copy a whole log to another engine, while no app works on it
#[derive(Args, Debug)]
#[command(
    after_help = "Copies events with their ids, keys and times, and of each group its position, \
retries, parked events, dead letters and state, and what is scheduled. Compares both sides at the \
end. The source is only read.

Stop every program that uses either log first. A target that holds anything else is refused. \
Interrupted, run it again: it goes on where it was, and until it is done no program can open the \
target. Run again after that, it compares both sides and changes nothing.

Positions are the target's own. Its times of appending, which `--since` goes by, are those of the \
source in a directory, and those of the copy on a server.

Examples:
  ensue migrate --from embedded:./data --to redis://localhost:6379
  ensue migrate --from 'nats://localhost:4222?namespace=shop' --to embedded:/srv/shop"
)]
pub(crate) struct Migrate {
    /// The log to copy
    #[arg(long, value_name = "URL")]
    from: String,
    /// Where to: an empty directory, or a namespace that holds nothing
    #[arg(long, value_name = "URL")]
    to: String,
}

#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    migrated: Migrated,
    #[serde(skip)]
    took: Duration,
}

impl Migrate {
    pub(crate) async fn run(self, out: &Output) -> Result<(), Failure> {
        let begin = Instant::now();
        let bar = Bar::default();
        let migrated = migrate(&self.from, &self.to, &|progress| bar.show(progress)).await;
        bar.clear();
        out.report(&Done {
            migrated: migrated?,
            took: begin.elapsed(),
        })
    }
}

/// A bar for each step; on stderr, and only on a terminal.
#[derive(Default)]
struct Bar(Mutex<Option<(Step, ProgressBar)>>);

impl Bar {
    fn show(&self, progress: Progress) {
        let Ok(mut shown) = self.0.lock() else {
            return;
        };
        let bar = match shown.take() {
            Some((step, bar)) if step == progress.step => bar,
            before => {
                if let Some((_, before)) = before {
                    before.finish_and_clear();
                }
                new_bar(progress.step)
            }
        };
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        *shown = Some((progress.step, bar));
    }

    fn clear(&self) {
        if let Ok(mut shown) = self.0.lock()
            && let Some((_, bar)) = shown.take()
        {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(step: Step) -> ProgressBar {
    const FORM: &str =
        "{prefix:24} {bar:32} {percent:>3} %  {human_pos} of {human_len}, {eta} left";
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_prefix(match step {
        Step::Comparing => "comparing what is there",
        Step::Copying => "copying events",
        Step::Verifying => "comparing both sides",
        Step::Restoring => "groups and schedules",
    });
    match ProgressStyle::with_template(FORM) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Report for Done {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let it = &self.migrated;
        let count = |count: usize| human::count(count as u64);
        let mut pairs = vec![
            ("from", human::printable(&it.from)),
            ("to", human::printable(&it.to)),
            (
                "events",
                format!("{}, {}", human::count(it.events), human::bytes(it.bytes)),
            ),
            (
                "groups",
                format!(
                    "{}, with {} dead, {} retrying, {} parked, {} of state",
                    count(it.groups),
                    count(it.dead),
                    count(it.retrying),
                    count(it.parked),
                    human::counted(it.cells, "cell"),
                ),
            ),
            ("scheduled", count(it.scheduled)),
            ("checksum", format!("{:08x} on both sides", it.checksum)),
            ("took", human::duration(self.took)),
        ];
        if it.resumed_at > 0 && !it.was_complete {
            pairs.push((
                "resumed",
                format!("{} were there already", human::count(it.resumed_at)),
            ));
        }
        if !it.keeps_append_times {
            pairs.push((
                "note",
                "the times of appending are those of the copy".to_owned(),
            ));
        }
        page.pairs(&pairs)?;
        let verdict = match it.was_complete {
            true => "good: it was complete already, and both sides are the same",
            false => "good: both sides are the same",
        };
        let verdict = page.paint(Tone::Good, verdict);
        page.line(verdict)
    }
}
