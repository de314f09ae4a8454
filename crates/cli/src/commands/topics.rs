//! `ensue topics`: what is in the log.

use std::io;

use clap::Args;
use ensue::TopicPattern;
use ensue::engine::TopicStatus;
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Column, Output, Page, Report, Table};
use crate::target::Target;

/// List the topics, how many events each holds and where
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue topics
  ensue topics 'sensors.>'
  ensue --json topics | jq '.[].name'")]
pub(crate) struct Topics {
    /// Only topics that match: `*` is one part, a final `>` the rest
    pattern: Option<TopicPattern>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<TopicStatus>);

impl Topics {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let mut topics = target.reader().await?.status().await?.topics;
        if let Some(pattern) = &self.pattern {
            topics.retain(|topic| pattern.matches(&topic.name));
        }
        if topics.is_empty() {
            out.note(match &self.pattern {
                None => "no topics yet; `ensue publish --topic T --type NAME` makes one".to_owned(),
                Some(pattern) => format!("no topic matches `{pattern}`; `ensue topics` lists all"),
            });
        }
        out.report(&Listed(topics))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(&[
            Column::Text("TOPIC"),
            Column::Number("EVENTS"),
            Column::Number("FIRST"),
            Column::Number("LAST"),
        ]);
        for topic in &self.0 {
            table.row([
                topic.name.as_str().into(),
                human::count(topic.events).into(),
                topic.first.to_string().into(),
                topic.last.to_string().into(),
            ]);
        }
        page.table(table)
    }
}
