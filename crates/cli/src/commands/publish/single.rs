//! Publishing one event that the command line describes.

use std::io::{self, Read as _};
use std::path::Path;

use ensue::{Codec, Envelope, Outgoing, PAYLOAD_BYTES_MAX, Position, Publisher, Timestamp};
use serde::Serialize;
use serde::de::IgnoredAny;

use super::Publish;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "the event was not published",
    method: "Publisher::publish",
};

#[derive(Serialize)]
struct Published {
    id: String,
    topic: String,
    /// Where it is; an event that is scheduled is nowhere yet.
    position: Option<Position>,
    duplicate: bool,
    /// When it will be appended, if not now.
    at: Option<Timestamp>,
}

impl Publish {
    pub(super) async fn run_single(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let event = self.envelope()?;
        let now = Timestamp::now();
        let at = self.at.or(self.after.map(|after| now.plus(after)));
        let mut outgoing = Outgoing::raw(event.to_builder());
        // clap has seen to it that a timer has a time.
        outgoing = match (at, &self.timer) {
            (Some(at), Some(timer)) => outgoing.timer(timer, at),
            (Some(at), None) => outgoing.at(at),
            (None, _) => outgoing,
        };
        let engine = target.create(CHANGE, out).await?;
        let appended = Publisher::new(engine.clone(), &self.source)
            .publish(outgoing)
            .await;
        let closed = engine.close().await;
        let appended = appended?;
        closed?;
        let at = at.filter(|at| *at > now);
        out.report(&Published {
            id: event.id().to_owned(),
            topic: event.topic().to_owned(),
            position: at.is_none().then_some(appended.position),
            duplicate: appended.is_duplicate,
            at,
        })
    }

    /// The event, whole: its id must be known to be told.
    fn envelope(&self) -> Result<Envelope, Failure> {
        let payload = match (&self.data, &self.file) {
            (Some(data), _) => data.clone().into_bytes(),
            (None, Some(path)) => read(path)?,
            (None, None) => Vec::new(),
        };
        // One that is too large was not read to its end; the builder says so.
        if payload.len() <= PAYLOAD_BYTES_MAX
            && let Some(codec) = Codec::from_content_type(&self.content_type)
            && let Err(error) = codec.decode::<IgnoredAny>(&payload)
        {
            return Err(Failure::new(
                "invalid_event",
                format!("the payload is not {}: {error}", self.content_type),
                "quote the JSON for the shell, or say what else it is with --content-type",
            ));
        }
        // clap has seen to it that both are there.
        let topic = self.topic.clone().unwrap_or_default();
        let kind = self.kind.clone().unwrap_or_default();
        let mut builder = Envelope::builder(topic, kind)
            .key(self.key.clone().unwrap_or_default())
            .source(self.source.clone())
            .opaque_payload(self.content_type.clone(), payload);
        if let Some(id) = &self.id {
            builder = builder.id(id.clone());
        }
        builder
            .build()
            .map_err(|error| ensue::Error::from(error).into())
    }
}

/// A file, or stdin; no more of it than an event may hold, and a byte to notice that it is more.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes_max = PAYLOAD_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        io::stdin().lock().take(bytes_max).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes))
    };
    match result {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::io(
            &format!("cannot read `{}`", path.display()),
            &error,
        )),
    }
}

impl Report for Published {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let id = human::printable(&self.id);
        let topic = human::printable(&self.topic);
        match (self.at, self.position) {
            (Some(_), _) if self.duplicate => page.line(format_args!(
                "`{id}` was scheduled or published before; nothing was added"
            )),
            (Some(at), _) => page.line(format_args!(
                "scheduled `{id}` for `{topic}` at {}",
                human::time_and_distance(at, Timestamp::now())
            )),
            (None, position) => {
                let position = position.unwrap_or_default();
                match self.duplicate {
                    false => page.line(format_args!(
                        "published `{id}` to `{topic}` at position {position}"
                    )),
                    true => page.line(format_args!(
                        "`{id}` is in the log already, at position {position}; nothing was added"
                    )),
                }
            }
        }
    }
}
