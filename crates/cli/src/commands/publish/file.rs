//! Publishing a file of CloudEvents, one a line or all in a JSON array.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use ensue::Envelope;
use ensue::engine::Append;
use ensue::engine::Driver;
use serde::Serialize;

use super::Publish;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "nothing was published",
    method: "Publisher::publish",
};

/// A batch is one append: this many events, or this many bytes, whichever comes first.
const BATCH_EVENTS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest array, which is read as a whole.
const ARRAY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest line: the largest payload, every byte of it escaped.
const LINE_BYTES_MAX: usize = 6 * ensue::PAYLOAD_BYTES_MAX;

#[derive(Default, Serialize)]
struct Published {
    published: usize,
    duplicates: usize,
}

impl Publish {
    pub(super) async fn run_file(
        self,
        path: &Path,
        target: &Target,
        out: &Output,
    ) -> Result<(), Failure> {
        let mut events = Events::open(path, self.topic.clone())?;
        let engine = target.create(CHANGE, out).await?;
        let mut published = Published::default();
        let result = publish(&*engine, &mut events, &mut published).await;
        let closed = engine.close().await;
        result.map_err(|failure| published.explain(failure))?;
        closed?;
        out.report(&published)
    }
}

/// Appends events as they are: a publisher would add what it knows and they do not say.
async fn publish(
    engine: &dyn Driver,
    events: &mut Events,
    published: &mut Published,
) -> Result<(), Failure> {
    loop {
        let batch = events.batch()?;
        if batch.is_empty() {
            return Ok(());
        }
        let batch = batch.into_iter().map(Append::from).collect();
        for appended in engine.append(batch).await? {
            match appended.is_duplicate {
                true => published.duplicates += 1,
                false => published.published += 1,
            }
        }
    }
}

/// The events of a file.
struct Events {
    from: Box<dyn BufRead>,
    name: String,
    topic: Option<String>,
    /// The number of the line that was read last.
    number: usize,
    /// What is left of an array, the next one last.
    array: Vec<Envelope>,
}

impl Events {
    fn open(path: &Path, topic: Option<String>) -> Result<Self, Failure> {
        let (from, name): (Box<dyn BufRead>, _) = if path == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), "stdin".to_owned())
        } else {
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|error| Failure::io(&format!("cannot read `{name}`"), &error))?;
            (Box::new(BufReader::new(file)), name)
        };
        let mut events = Self {
            from,
            name,
            topic,
            number: 0,
            array: Vec::new(),
        };
        if events.first_byte()? == Some(b'[') {
            events.array = events.read_array()?;
        }
        Ok(events)
    }

    /// The first byte that is not blank, which stays; the blank lines before it count.
    fn first_byte(&mut self) -> Result<Option<u8>, Failure> {
        loop {
            let read = self.from.fill_buf();
            let failed = |error| Failure::io(&format!("cannot read {}", self.name), &error);
            let buffer = read.map_err(failed)?;
            let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace());
            let blank = blank.count();
            let first = buffer.get(blank).copied();
            let passed = buffer.get(..blank).unwrap_or_default();
            self.number += passed.iter().filter(|byte| **byte == b'\n').count();
            self.from.consume(blank);
            if first.is_some() || blank == 0 {
                return Ok(first);
            }
        }
    }

    /// A file in the batch format.
    fn read_array(&mut self) -> Result<Vec<Envelope>, Failure> {
        let mut json = Vec::new();
        let limit = ARRAY_BYTES_MAX as u64 + 1;
        let read = (&mut self.from).take(limit).read_to_end(&mut json);
        read.map_err(|error| Failure::io(&format!("cannot read {}", self.name), &error))?;
        let invalid = |why: String| {
            Failure::new(
                "invalid_event",
                format!("{} is not a batch of CloudEvents: {why}", self.name),
                "mend it, or write one event a line; nothing of it is published",
            )
        };
        if json.len() > ARRAY_BYTES_MAX {
            let max = human::bytes(ARRAY_BYTES_MAX as u64);
            return Err(invalid(format!("an array may have at most {max}")));
        }
        let events = Envelope::from_cloudevent_batch(&json, self.topic.as_deref());
        let mut events = events.map_err(|error| invalid(error.to_string()))?;
        for (index, event) in events.iter().enumerate() {
            if let Some(why) = reserved(event) {
                return Err(invalid(format!("event {}: {why}", index + 1)));
            }
        }
        events.reverse();
        Ok(events)
    }

    /// The next events; none at the end of the file.
    fn batch(&mut self) -> Result<Vec<Envelope>, Failure> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
            let event = match self.array.pop() {
                Some(event) => event,
                None => match self.line()? {
                    Some(line) if line.trim_ascii().is_empty() => continue,
                    Some(line) => self.event(&line)?,
                    None => break,
                },
            };
            bytes += event.content().len();
            batch.push(event);
        }
        Ok(batch)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.from).take(limit).read_until(b'\n', &mut line);
        self.number += 1;
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.len() > LINE_BYTES_MAX => Err(self.bad(format_args!(
                "it is longer than {}",
                human::bytes(LINE_BYTES_MAX as u64)
            ))),
            Ok(_) => Ok(Some(line)),
            Err(error) => Err(Failure::io(&format!("cannot read {}", self.name), &error)),
        }
    }

    fn event(&self, line: &[u8]) -> Result<Envelope, Failure> {
        let event = Envelope::from_cloudevent(line, self.topic.as_deref())
            .map_err(|error| self.bad(format_args!("{error}")))?;
        match reserved(&event) {
            Some(why) => Err(self.bad(format_args!("{why}"))),
            None => Ok(event),
        }
    }

    fn bad(&self, why: std::fmt::Arguments<'_>) -> Failure {
        Failure::new(
            "invalid_event",
            format!(
                "line {} of {} is not a CloudEvent: {why}",
                self.number, self.name
            ),
            "mend the line and run the command again: events whose ids are in the log are skipped",
        )
    }
}

/// Why an event may not be published, if its topic says so.
fn reserved(event: &Envelope) -> Option<String> {
    let topic = event.topic();
    topic.starts_with('_').then(|| {
        let topic = human::printable(topic);
        format!("the topic `{topic}` is reserved: names that start with `_` belong to Ensue")
    })
}

impl Published {
    /// A failure that also says how far the file was published.
    fn explain(&self, failure: Failure) -> Failure {
        let done = self.published + self.duplicates;
        match failure {
            Failure::Failed(mut problem) if done > 0 => {
                let done = human::counted(done, "event");
                problem.message = format!("{} ({done} before it are published)", problem.message);
                Failure::Failed(problem)
            }
            other => other,
        }
    }
}

impl Report for Published {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let published = human::counted(self.published, "event");
        match self.duplicates {
            0 => page.line(format_args!("published {published}")),
            duplicates => page.line(format_args!(
                "published {published}; {} in the log already",
                human::counted(duplicates, "event")
            )),
        }
    }
}
