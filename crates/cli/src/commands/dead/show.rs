//! `ensue dead show`.

use std::collections::BTreeSet;
use std::io;

use clap::Args;
use ensue::engine::{DeadLetter, DeadLetterFilter};
use ensue::{CloudEvent, Envelope, Timestamp};
use serde::{Serialize, Serializer};

use super::letter::{Letter, cause_in_words};
use crate::failure::Failure;
use crate::output::{Output, Page, Report, Tone};
use crate::target::Target;
use crate::{human, payload};

/// Show one dead letter: why it died, its attributes and its payload
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue dead show 0197f1d2-7c1e-7d6a-b5a0-1c6c8f1b0e11
  ensue dead show order-17 --group payments
  ensue --json dead show order-17 | jq .event.data")]
pub(crate) struct Show {
    /// The event's id
    id: String,
    /// The group; needed when several groups could not handle the event
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The event's source; needed when events of several sources share the id
    #[arg(long, value_name = "URI")]
    source: Option<String>,
}

/// Everything there is about a dead letter.
struct Shown(DeadLetter);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            letter: Letter,
            /// `null` for one that cannot be read.
            event: Option<CloudEvent<'a>>,
        }
        let whole = Whole {
            letter: Letter::of(&self.0),
            event: self.0.envelope.as_ref().ok().map(Envelope::to_cloudevent),
        };
        whole.serialize(serializer)
    }
}

impl Show {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let filter = DeadLetterFilter {
            ids: vec![self.id.clone()],
            source: self.source.clone(),
            ..DeadLetterFilter::default()
        };
        let letters = reader.dead_letters(self.group.as_deref(), filter).await?;
        out.report(&Shown(self.only(letters)?))
    }

    /// The one that is meant.
    fn only(&self, mut letters: Vec<DeadLetter>) -> Result<DeadLetter, Failure> {
        let id = human::printable(&self.id);
        let of_each = |name: fn(&DeadLetter) -> &str| {
            let names: BTreeSet<_> = letters.iter().map(name).map(human::printable).collect();
            (names.len() > 1).then(|| Vec::from_iter(names).join(", "))
        };
        if let Some(groups) = of_each(|letter| &letter.group) {
            return Err(Failure::new(
                "ambiguous",
                format!("`{id}` is a dead letter of several groups"),
                format!("add --group with one of {groups}"),
            ));
        }
        if let Some(sources) = of_each(|letter| letter.event.source()) {
            return Err(Failure::new(
                "ambiguous",
                format!("`{id}` is a dead letter of several sources"),
                format!("add --source with one of {sources}"),
            ));
        }
        letters.pop().ok_or_else(|| {
            Failure::new(
                "unknown_dead_letter",
                format!("there is no dead letter with the id `{id}`"),
                "`ensue dead list` lists those there are",
            )
        })
    }
}

impl Report for Shown {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let letter = &self.0;
        let now = Timestamp::now();
        let text = |text: &str| human::printable(text);
        page.pairs(&[
            ("group", text(&letter.group)),
            ("died", human::time_and_distance(letter.died, now)),
            ("cause", cause_in_words(letter.cause).to_owned()),
            ("reason", page.paint(Tone::Bad, &text(&letter.reason))),
            ("attempts", letter.attempts.to_string()),
            ("redriven", human::counted(letter.redriven as usize, "time")),
            (
                "behind it",
                format!(
                    "{} of its key parked",
                    human::counted(letter.parked, "event")
                ),
            ),
        ])?;
        page.heading("Event")?;
        match &letter.envelope {
            Ok(event) => print_event(page, letter, event)?,
            Err(why) => page.pairs(&[
                ("id", text(letter.event.id())),
                ("topic", text(&letter.topic)),
                ("type", text(&letter.event_type)),
                ("key", text(&letter.key)),
                ("position", letter.position.to_string()),
                ("source", text(letter.event.source())),
                ("damaged", page.paint(Tone::Bad, &text(why))),
            ])?,
        }
        let (group, id) = (text(&letter.group), text(letter.event.id()));
        page.line(format_args!(
            "\n`ensue dead redrive {group} --id {id}` hands it back to its group, `ensue dead discard` gives it up"
        ))
    }
}

/// The event of a dead letter: its attributes and its payload.
fn print_event(page: &mut Page<'_>, letter: &DeadLetter, event: &Envelope) -> io::Result<()> {
    let now = Timestamp::now();
    let text = |text: &str| human::printable(text);
    let mut pairs = vec![
        ("id", text(event.id())),
        ("topic", text(event.topic())),
        (
            "type",
            format!("{} (version {})", text(event.event_type()), event.version()),
        ),
        ("key", text(event.key())),
        ("position", letter.position.to_string()),
        ("source", text(event.source())),
        ("time", human::time_and_distance(event.time(), now)),
        ("correlation", text(event.correlation())),
    ];
    if let Some(causation) = event.causation() {
        pairs.push(("causation", text(causation)));
    }
    let extensions = event
        .extensions()
        .map(|(name, value)| (name, text(&value.as_text())));
    pairs.extend(extensions);
    page.pairs(&pairs)?;
    let size = human::bytes(event.payload().len() as u64);
    page.heading(&format!("Payload: {}, {size}", text(event.content_type())))?;
    page.line(payload::in_full(event))
}
