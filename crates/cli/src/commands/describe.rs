//! `ensue describe`: what the engine promises, and who listens to what.

use std::io;

use clap::Args;
use ensue::engine::{Atomicity, DedupWindow, EngineStatus, GroupStatus};
use ensue::{Guarantees, TopicPattern};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};
use crate::target::Target;

/// Describe the engine: what it promises, and which group listens to which topic
#[derive(Args, Debug)]
#[command(
    after_help = "This is what the log knows. What a program wants of it (its handlers and \
their events), the program
prints itself: see `App::describe` of the crate `ensue`.

Examples:
  ensue describe
  ensue --json describe | jq .unheard"
)]
pub(crate) struct Describe {}

#[derive(Serialize)]
struct Description {
    url: String,
    guarantees: Guarantees,
    topics: Vec<Heard>,
    groups: Vec<Listener>,
    /// Topics that no group listens to.
    unheard: Vec<String>,
    /// Groups whose patterns match no topic that has events.
    idle: Vec<String>,
}

#[derive(Serialize)]
struct Heard {
    name: String,
    events: u64,
    groups: Vec<String>,
}

#[derive(Serialize)]
struct Listener {
    name: String,
    patterns: Vec<String>,
    topics: Vec<String>,
}

impl Describe {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let status = target.reader().await?.status().await?;
        out.report(&Description::of(status))
    }
}

impl Description {
    fn of(status: EngineStatus) -> Self {
        let listeners = status.groups.iter().map(|group| {
            let heard = status
                .topics
                .iter()
                .filter(|topic| hears(group, &topic.name));
            Listener {
                name: group.name.clone(),
                patterns: group.topics.clone(),
                topics: heard.map(|topic| topic.name.clone()).collect(),
            }
        });
        let groups: Vec<_> = listeners.collect();
        let topics = status.topics.iter().map(|topic| {
            let listening = groups
                .iter()
                .filter(|group| group.topics.contains(&topic.name));
            Heard {
                name: topic.name.clone(),
                events: topic.events,
                groups: listening.map(|group| group.name.clone()).collect(),
            }
        });
        let topics: Vec<_> = topics.collect();
        let unheard = topics.iter().filter(|topic| topic.groups.is_empty());
        let idle = groups.iter().filter(|group| group.topics.is_empty());
        Self {
            unheard: unheard.map(|topic| topic.name.clone()).collect(),
            idle: idle.map(|group| group.name.clone()).collect(),
            url: status.url,
            guarantees: status.guarantees,
            topics,
            groups,
        }
    }
}

/// Whether one of the group's patterns selects the topic.
fn hears(group: &GroupStatus, topic: &str) -> bool {
    let mut patterns = group.topics.iter();
    patterns.any(|pattern| match pattern.parse::<TopicPattern>() {
        Ok(pattern) => pattern.matches(topic),
        Err(_) => pattern == topic,
    })
}

fn promises(guarantees: &Guarantees) -> Vec<(&'static str, String)> {
    let yes_or_no = |it: bool| if it { "yes" } else { "no" }.to_owned();
    vec![
        (
            "acknowledged survives a power cut",
            yes_or_no(guarantees.durable_on_acknowledge),
        ),
        ("survives a restart", yes_or_no(guarantees.survives_restart)),
        (
            "effects and position",
            match guarantees.commit {
                Atomicity::Atomic => "one commit: all or nothing".to_owned(),
                Atomicity::EffectsFirst => "effects first; repeats are dropped by id".to_owned(),
            },
        ),
        (
            "an id is remembered for",
            match guarantees.dedup {
                DedupWindow::Events(events) => format!("{} events", human::count(events)),
                DedupWindow::Time(time) => human::duration(time),
            },
        ),
        (
            "conditional append",
            yes_or_no(guarantees.conditional_append),
        ),
        ("schedules", yes_or_no(guarantees.schedules)),
        ("replay by position and time", yes_or_no(guarantees.replay)),
        ("several processes", yes_or_no(guarantees.multi_process)),
        (
            "a dead member's keys move within",
            match guarantees.failover.is_zero() {
                true => "at once".to_owned(),
                false => human::duration(guarantees.failover),
            },
        ),
    ]
}

impl Report for Description {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        use Column::{Number, Text};
        page.line(human::printable(&self.url))?;
        page.heading("Promises")?;
        page.pairs(&promises(&self.guarantees))?;
        page.heading("Topics")?;
        if self.topics.is_empty() {
            page.line("none yet")?;
        } else {
            let mut table = Table::new(&[Text("TOPIC"), Number("EVENTS"), Text("LISTENING")]);
            for topic in &self.topics {
                let listening = match topic.groups.is_empty() {
                    true => Cell::toned(Tone::Warn, "no group"),
                    false => topic.groups.join(", ").into(),
                };
                let events = human::count(topic.events).into();
                table.row([topic.name.as_str().into(), events, listening]);
            }
            page.table(table)?;
        }
        page.heading("Groups")?;
        if self.groups.is_empty() {
            return page.line("none yet");
        }
        let mut table = Table::new(&[Text("GROUP"), Text("SUBSCRIBED TO"), Text("HEARS")]);
        for group in &self.groups {
            let heard = match group.topics.is_empty() {
                true => Cell::toned(Tone::Warn, "no topic that has events"),
                false => group.topics.join(", ").into(),
            };
            table.row([
                group.name.as_str().into(),
                group.patterns.join(", ").into(),
                heard,
            ]);
        }
        page.table(table)
    }
}
