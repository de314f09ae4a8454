//! Publishing a file of CloudEvents, one a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use ensue::Envelope;
use ensue::engine::Append;
use ensue::engine::Engine;
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
        let mut lines = Lines::open(path, self.topic.clone())?;
        let engine = target.create(CHANGE, out).await?;
        let mut published = Published::default();
        let result = publish(&*engine, &mut lines, &mut published).await;
        let closed = engine.close().await;
        result.map_err(|failure| published.explain(failure))?;
        closed?;
        out.report(&published)
    }
}

/// Appends events as they are: a publisher would add what it knows and they do not say.
async fn publish(
    engine: &dyn Engine,
    lines: &mut Lines,
    published: &mut Published,
) -> Result<(), Failure> {
    loop {
        let batch = lines.batch()?;
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
struct Lines {
    from: Box<dyn BufRead>,
    name: String,
    topic: Option<String>,
    number: usize,
}

impl Lines {
    fn open(path: &Path, topic: Option<String>) -> Result<Self, Failure> {
        let (from, name): (Box<dyn BufRead>, _) = if path == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), "stdin".to_owned())
        } else {
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|error| Failure::io(&format!("cannot read `{name}`"), &error))?;
            (Box::new(BufReader::new(file)), name)
        };
        Ok(Self {
            from,
            name,
            topic,
            number: 0,
        })
    }

    /// The next events; none at the end of the file.
    fn batch(&mut self) -> Result<Vec<Envelope>, Failure> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(line) = self.line()? else { break };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let event = self.event(&line)?;
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
        if event.topic().starts_with('_') {
            let topic = human::printable(event.topic());
            return Err(self.bad(format_args!(
                "the topic `{topic}` is reserved: names that start with `_` belong to Ensue"
            )));
        }
        Ok(event)
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
