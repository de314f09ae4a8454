//! `ensue status`: the log at a glance.

use std::io;

use clap::Args;
use ensue::Timestamp;
use ensue::engine::EngineStatus;
use serde::Serialize;

use super::group_rows;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report, Tone};
use crate::target::Target;

/// Show the log at a glance: health, durability, size, groups, dead letters
#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 0 when healthy, with 1 when the engine is in trouble, or a \
group is paused or has keys that a limit stops. Dead letters
alone are shown, but are no trouble: a script that cares reads .totals.dead.

Examples:
  ensue status
  ensue status > /dev/null || echo trouble
  ensue --json status | jq .totals"
)]
pub(crate) struct Status {}

#[derive(Serialize)]
struct Glance {
    healthy: bool,
    /// Everything that is wrong, in words.
    troubles: Vec<String>,
    totals: Totals,
    #[serde(flatten)]
    status: EngineStatus,
}

#[derive(Serialize)]
struct Totals {
    events: u64,
    lag: u64,
    in_flight: usize,
    retrying: usize,
    parked: usize,
    dead: usize,
    blocked: usize,
}

impl Status {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let glance = Glance::of(target.reader().await?.status().await?);
        out.report(&glance)?;
        if target.is_served() {
            out.note(
                "this is what the caller may see at the server; a role with `admin` sees all of it",
            );
        }
        match glance.healthy {
            true => Ok(()),
            false => Err(Failure::Reported),
        }
    }
}

impl Glance {
    fn of(status: EngineStatus) -> Self {
        let groups = &status.groups;
        let of_groups = groups.iter().filter_map(|group| {
            let why = group.trouble.as_ref()?;
            Some(format!("group `{}`: {why}", group.name))
        });
        let paused = groups.iter().filter_map(|group| {
            let why = group.paused.as_ref()?;
            Some(format!("group `{}` is paused: {why}", group.name))
        });
        let refused = groups.iter().filter_map(|group| {
            let why = group.refused.as_ref()?;
            Some(format!("group `{}` cannot commit: {why}", group.name))
        });
        let troubles = status
            .trouble
            .iter()
            .cloned()
            .chain(of_groups)
            .chain(paused)
            .chain(refused);
        let troubles: Vec<_> = troubles.collect();
        let totals = Totals {
            events: status.topics.iter().map(|topic| topic.events).sum(),
            lag: groups.iter().map(|group| group.lag).sum(),
            in_flight: groups.iter().map(|group| group.in_flight).sum(),
            retrying: groups.iter().map(|group| group.retrying).sum(),
            parked: groups.iter().map(|group| group.parked).sum(),
            dead: groups.iter().map(|group| group.dead).sum(),
            blocked: groups.iter().map(|group| group.blocked).sum(),
        };
        Self {
            healthy: troubles.is_empty(),
            troubles,
            totals,
            status,
        }
    }

    fn pairs(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let (status, totals) = (&self.status, &self.totals);
        let topics = human::counted(status.topics.len(), "topic");
        let mut pairs = vec![
            ("engine", human::printable(&status.url)),
            ("durability", durability(&status.durability)),
            (
                "holds",
                match status.replies {
                    0 => format!("{} events in {topics}", human::count(totals.events)),
                    replies => format!(
                        "{} events in {topics}, and {} replies to requests",
                        human::count(totals.events),
                        human::count(replies)
                    ),
                },
            ),
            (
                "positions",
                format!("{} to before {}", status.first, status.end),
            ),
        ];
        if let Some(bytes) = status.bytes {
            pairs.push(("on disk", human::bytes(bytes)));
        }
        if let Some(needed) = &status.needed {
            let (position, by) = (needed.position, human::printable(&needed.by));
            pairs.push(("kept from", format!("{position}, for {by}")));
        }
        let scheduled = human::counted(status.scheduled, "event");
        pairs.push((
            "scheduled",
            match status.next_due {
                Some(due) => format!("{scheduled}, the next {}", human::relative(due, now)),
                None => scheduled,
            },
        ));
        pairs.push(("dead", human::counted(totals.dead, "letter")));
        pairs
    }
}

fn durability(name: &str) -> String {
    match name {
        "sync" => "sync: acknowledged is on stable storage".to_owned(),
        "os" => "os: acknowledged is in the page cache, a power cut loses it".to_owned(),
        "unknown" => "as the process that opens it to write says (`durability=`)".to_owned(),
        other => human::printable(other),
    }
}

impl Report for Glance {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let now = Timestamp::now();
        match self.healthy {
            true => page.line(page.paint(Tone::Good, "healthy"))?,
            false => {
                for trouble in &self.troubles {
                    let trouble = format!("trouble: {}", human::printable(trouble));
                    page.line(page.paint(Tone::Bad, &trouble))?;
                }
            }
        }
        page.pairs(&self.pairs(now))?;
        if !self.status.groups.is_empty() {
            page.heading("Groups")?;
            page.table(group_rows::table(&self.status.groups, now))?;
        }
        if self.totals.dead > 0 {
            page.line("\n`ensue dead list` shows the dead letters and why they died")?;
        }
        Ok(())
    }
}
