//! A file in which sshd recorded log-ins, as events.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};

use ensue::Timestamp;
use ensue::prelude::*;
use ring::digest;

use super::error::ReplayError;
use super::lines::Lines;
use super::sshd::{Attempt, Kind, is_sshd};
use super::syslog::{Line, Stamp};
use super::years::Years;
use crate::events::{LoginAccepted, LoginFailed, LoginOfInvalidUser};

/// How many events are appended in one go.
const BATCH_EVENTS_MAX: usize = 512;
/// As much of the file's hash as makes its lines' ids their own.
const HASH_BYTES: usize = 8;

/// A file of syslog lines. It is read twice: first for what only the whole file tells.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    /// Hexadecimal; the ids of events begin with it, so that a file makes the same events each time.
    hash: String,
    /// The year of the first line, where lines have none.
    year: i16,
    years: Years,
}

impl Recording {
    /// Opens a file, and reads it once.
    ///
    /// # Errors
    /// What the system reports.
    pub async fn open(path: &Path) -> Result<Self, ReplayError> {
        let path = path.to_owned();
        on_a_thread(move || {
            let opened = Self::read_first(&path);
            opened.map_err(|source| ReplayError::Recording { path, source })
        })
        .await
    }

    fn read_first(path: &Path) -> io::Result<Self> {
        // Before it is opened: one of another kind may have no end, or wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            let what = "it is a directory, a device or a pipe, and not a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut file = File::open(path)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut years = Years::default();
        let mut lines = Lines::new(BufReader::new(&file));
        while let Some((_, line)) = lines.next()? {
            hash.update(line);
            hash.update(b"\n");
            let line = String::from_utf8_lossy(line);
            if let Some(Stamp::Yearless(day, _)) = Line::parse(&line).map(|line| line.stamp) {
                years.follow(day);
            }
        }
        file.rewind()?;
        let hash = hash.finish();
        let hash = hash.as_ref().iter().take(HASH_BYTES);
        Ok(Self {
            path: path.to_owned(),
            lines: Lines::new(BufReader::new(file)),
            hash: hash.map(|byte| format!("{byte:02x}")).collect(),
            year: years.first(),
            years: Years::default(),
        })
    }

    /// Appends all attempts of the file, in its order and at their own times.
    ///
    /// # Errors
    /// What the system or the engine reports.
    pub(crate) async fn publish_to(self, engine: &Engine) -> Result<(), ReplayError> {
        let publisher = engine.publisher(&format!("/sshd/{}", self.hash));
        let mut recording = self;
        loop {
            let batch;
            (recording, batch) = on_a_thread(move || recording.batch()).await?;
            if batch.is_empty() {
                return Ok(());
            }
            publisher.publish_all(batch).await?;
        }
    }

    /// The next events; none at the end of the file.
    fn batch(mut self) -> Result<(Self, Vec<Outgoing>), ReplayError> {
        let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
        while batch.len() < BATCH_EVENTS_MAX {
            match self.lines.next() {
                Ok(None) => break,
                Ok(Some((number, line))) => {
                    let line = String::from_utf8_lossy(line);
                    let event = event(&line, |day| {
                        self.year.saturating_add(self.years.follow(day))
                    });
                    batch.extend(event.map(|it| it.id(format!("{}-{number}", self.hash))));
                }
                Err(source) => {
                    let path = self.path;
                    return Err(ReplayError::Recording { path, source });
                }
            }
        }
        Ok((self, batch))
    }
}

/// What a line says of an attempt, at the time at which it happened.
fn event(line: &str, year: impl FnOnce(super::years::Day) -> i16) -> Option<Outgoing> {
    let line = Line::parse(line)?;
    // Also a line of another program tells that time goes on.
    let at: Timestamp = line.stamp.at(year)?;
    let attempt = Attempt::parse(line.message).filter(|_| is_sshd(line.program))?;
    let (address, times) = (attempt.address.to_owned(), attempt.times);
    let event = match attempt.kind {
        Kind::Failed => Outgoing::new(LoginFailed { address, times }),
        Kind::Accepted => Outgoing::new(LoginAccepted { address, times }),
        Kind::InvalidUser => Outgoing::new(LoginOfInvalidUser { address, times }),
    };
    Some(event.time(at))
}

/// Reads files where nothing else waits for it.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
