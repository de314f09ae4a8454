//! `ensue schedule list`.

use std::io;

use clap::Args;
use ensue::engine::Scheduled;
use ensue::{CloudEvent, Envelope, Timestamp};
use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::output::{Cell, Column, Output, Page, Report, Table, Tone};
use crate::target::Target;
use crate::{human, payload};

/// List events that wait for their time, the next due first
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue schedule list
  ensue --json schedule list | jq -r '.[].name'")]
pub(crate) struct List {
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: usize,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<Row>);

struct Row(Scheduled);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            name: &'a str,
            source: &'a str,
            at: Timestamp,
            /// `null` for one that cannot be read.
            event: Option<CloudEvent<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            problem: Option<&'a str>,
        }
        let (name, event) = (&self.0.name, self.0.envelope.as_ref());
        let whole = Whole {
            name: name.id(),
            source: name.source(),
            at: self.0.at,
            event: event.ok().map(Envelope::to_cloudevent),
            problem: event.err().map(String::as_str),
        };
        whole.serialize(serializer)
    }
}

impl List {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let scheduled = reader.scheduled(self.limit).await?;
        if scheduled.is_empty() {
            out.note("nothing is scheduled; `ensue publish … --after 5m` schedules an event");
        } else if scheduled.len() == self.limit {
            let total = reader.status().await?.scheduled;
            if total > self.limit {
                let total = human::count(total as u64);
                out.note(format_args!(
                    "the first {} of {total}; -n shows more",
                    self.limit
                ));
            }
        }
        let damaged = scheduled.iter().filter(|it| it.envelope.is_err()).count();
        if damaged > 0 {
            out.note(format_args!(
                "{} cannot be read and will not be appended; `ensue schedule cancel NAME --source \
                 SOURCE` gives one up",
                human::counted(damaged, "scheduled event")
            ));
        }
        out.report(&Listed(scheduled.into_iter().map(Row).collect()))
    }
}

impl Report for Listed {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        const PAYLOAD_CHARS_MAX: usize = 40;
        use Column::Text;
        if self.0.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let mut table = Table::new(&[
            Text("DUE"),
            Text("AT"),
            Text("NAME"),
            Text("TOPIC"),
            Text("TYPE"),
            Text("KEY"),
            Text("PAYLOAD"),
        ]);
        for Row(scheduled) in &self.0 {
            let [topic, kind, key, payload] = match &scheduled.envelope {
                Ok(event) => [
                    event.topic().into(),
                    event.event_type().into(),
                    event.key().into(),
                    payload::on_one_line(event, PAYLOAD_CHARS_MAX).into(),
                ],
                Err(problem) => {
                    let why = format!("of {}: {problem}", scheduled.name.source());
                    let why = Cell::toned(Tone::Bad, why);
                    ["?".into(), "?".into(), "?".into(), why]
                }
            };
            table.row([
                human::relative(scheduled.at, now).into(),
                human::time(scheduled.at).into(),
                Cell::toned(Tone::Strong, scheduled.name.id()),
                topic,
                kind,
                key,
                payload,
            ]);
        }
        page.table(table)
    }
}
