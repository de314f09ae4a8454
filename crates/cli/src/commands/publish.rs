//! `ensue publish`: append events, now or later.

mod file;
mod single;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ensue::Timestamp;

use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

/// Append an event, or a file of CloudEvents; durable when it returns
#[derive(Args, Debug)]
#[command(after_help = "A log that does not exist is created.
Publishing an id again within the engine's dedup window adds nothing: repeating a command that was
interrupted is safe when ids are given.

Examples:
  ensue publish --topic orders --type order.created --key o-17 --data '{\"cents\": 4200}'
  ensue publish --topic photos --type photo.taken --content-type image/jpeg --file cat.jpg
  echo '{\"n\": 1}' | ensue publish --topic numbers --type number.drawn --file -
  ensue publish --topic reminders --type reminder.due --after 2h --timer o-17 --data '{}'
  ensue publish --cloudevents events.jsonl")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["data", "file", "cloudevents"]))]
#[command(group = clap::ArgGroup::new("due").args(["at", "after"]))]
pub(crate) struct Publish {
    /// The topic; with --cloudevents, that of events which name none
    #[arg(long, value_name = "TOPIC", required_unless_present = "cloudevents")]
    topic: Option<String>,
    /// The event's type, such as order.created
    #[arg(
        long = "type",
        value_name = "TYPE",
        required_unless_present = "cloudevents",
        conflicts_with = "cloudevents"
    )]
    kind: Option<String>,
    /// What the event is about: events with equal keys keep their order
    #[arg(long, value_name = "KEY", conflicts_with = "cloudevents")]
    key: Option<String>,
    /// The event's id; a new one by default
    #[arg(long, value_name = "ID", conflicts_with = "cloudevents")]
    id: Option<String>,
    /// Who says so, a URI reference
    #[arg(
        long,
        value_name = "URI",
        default_value = "/ensue/cli",
        conflicts_with = "cloudevents"
    )]
    source: String,
    /// Append the event at this time instead of now
    #[arg(long, value_name = "TIME", conflicts_with_all = ["cloudevents", "after"])]
    at: Option<Timestamp>,
    /// Append the event so much later: 90s, 5m, 1h30m, 2d
    #[arg(long, value_name = "TIME", conflicts_with = "cloudevents", value_parser = ensue::parse_duration)]
    after: Option<Duration>,
    /// Set this timer: the event takes the place of what it would have appended; with --at or --after
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "cloudevents",
        requires = "due"
    )]
    timer: Option<String>,
    /// What the payload is
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "application/json",
        conflicts_with = "cloudevents"
    )]
    content_type: String,
    /// The payload
    #[arg(long, short = 'd', value_name = "JSON")]
    data: Option<String>,
    /// A file that is the payload; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A file with one CloudEvent (JSON) a line, or with a JSON array of them; `-` is stdin
    #[arg(long, value_name = "FILE")]
    cloudevents: Option<PathBuf>,
}

impl Publish {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        match self.cloudevents.clone() {
            Some(path) => self.run_file(&path, target, out).await,
            None => self.run_single(target, out).await,
        }
    }
}
