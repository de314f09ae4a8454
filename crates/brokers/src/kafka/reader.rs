//! Reading: fetches that the broker holds until there is something.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::batch::{self, Broken, Fetched};
use super::connection::{ANSWER, Connection, refused};
use super::protocol::{self, At, Code};
use super::{Kafka, examine};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::Message;

/// How many bytes of batches are fetched at once, at least and at most: a fetch brings whole
/// batches, and one at least.
const FETCH_BYTES_MIN: usize = 1 << 20;
const FETCH_BYTES_MAX: usize = 16 << 20;
/// How long a broker holds a fetch before it is asked again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What was fetched and not yet returned.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    messages: VecDeque<Message>,
    /// Where to fetch on behind them.
    next: u64,
}

impl Ahead {
    /// Drops what is not at or after `from`, and all when `from` is elsewhere.
    fn begin_at(&mut self, from: u64) {
        while self
            .messages
            .front()
            .is_some_and(|message| message.sequence < from)
        {
            self.messages.pop_front();
        }
        let is_here = self.messages.front().is_some_and(|it| it.sequence == from);
        if !is_here && self.next != from {
            self.messages.clear();
            self.next = from;
        }
    }

    /// The first message, and more as long as they fit.
    fn take(&mut self, bytes_max: usize) -> Vec<Message> {
        let mut bytes = 0_usize;
        let fits = |message: &&Message| {
            bytes = bytes.saturating_add(message.body.len());
            bytes <= bytes_max
        };
        let count = self.messages.iter().take_while(fits).count();
        let count = count.max(1).min(self.messages.len());
        self.messages.drain(..count).collect()
    }
}

impl Kafka {
    pub(super) async fn read_at(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<Message>> {
        let until = Instant::now() + patience;
        let mut ahead = self.ahead.lock().await;
        ahead.begin_at(from);
        if ahead.messages.is_empty() {
            let mut connection = match self.reader.take() {
                Some(connection) => connection,
                None => self.timely(self.leader()).await?,
            };
            let mut at = from;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let fetched = self
                    .fetch(&mut connection, &mut at, bytes_max, left)
                    .await?;
                at = fetched.next;
                ahead.next = at.max(from);
                let wanted = fetched.messages.into_iter();
                ahead
                    .messages
                    .extend(wanted.filter(|it| it.sequence >= from));
                if !ahead.messages.is_empty() || Instant::now() >= until {
                    break;
                }
            }
            self.reader.put(connection);
        }
        let messages = ahead.take(bytes_max);
        if let Some(last) = messages.last() {
            self.note(last.sequence.saturating_add(1));
        }
        Ok(messages)
    }

    /// The message at an offset.
    pub(super) async fn find_one(
        &self,
        connection: &mut Connection,
        sequence: u64,
    ) -> Result<Option<Bytes>> {
        let mut at = sequence;
        let fetched = self.fetch(connection, &mut at, 0, Duration::ZERO).await?;
        let mut messages = fetched.messages.into_iter();
        let found = messages.find(|message| message.sequence == sequence);
        Ok(found.map(|message| message.body))
    }

    /// What is at or after `at`, which moves to the end when it is beyond it.
    async fn fetch(
        &self,
        connection: &mut Connection,
        at: &mut u64,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Fetched> {
        let wait = patience.min(WAIT_MAX);
        let bytes_max = bytes_max.clamp(FETCH_BYTES_MIN, FETCH_BYTES_MAX);
        let number = |number: u128| i32::try_from(number).unwrap_or(i32::MAX);
        // Rounded up: what is left of a millisecond would be asked for again and again.
        let wait_ms = number(wait.as_micros().div_ceil(1000));
        let offset = i64::try_from(*at).unwrap_or(i64::MAX);
        let request = protocol::fetch(&self.topic, offset, number(bytes_max as u128), wait_ms);
        let asked = connection.ask_within(wait + ANSWER, request, protocol::read_fetch);
        let (code, batches) = asked.await?;
        if code == Code::OFFSET_OUT_OF_RANGE {
            self.timely(self.find(connection, at)).await?;
            return Ok(Fetched {
                messages: Vec::new(),
                next: *at,
            });
        }
        if let Some(error) = refused(&self.server, code, None) {
            return Err(error);
        }
        batch::decode(batches, *at).map_err(|broken| self.unreadable(&broken))
    }

    /// Where to fetch when the broker has nothing at `at`: at the end, if that is before it.
    async fn find(&self, connection: &mut Connection, at: &mut u64) -> Result<()> {
        let newest = self.newest.load(Ordering::Relaxed);
        let start = self.offset(connection, At::Start).await?;
        let end = self.offset(connection, At::End).await?;
        let lost = if *at < start {
            format!("it begins at {start}, and {at} is wanted")
        } else if end < newest {
            format!(
                "it ends before {end}, and {} was acknowledged or read",
                newest - 1
            )
        } else {
            *at = (*at).min(end);
            return Ok(());
        };
        Err(self.lost(&lost))
    }

    pub(super) fn lost(&self, what: &str) -> Error {
        Error::Engine(EngineError::Corrupt(format!(
            "the topic `{}` at {} lost messages: {what}",
            self.topic, self.server.shown
        )))
    }

    fn unreadable(&self, broken: &Broken) -> Error {
        match broken {
            Broken::Garbled(_) => self.server.unavailable(broken),
            Broken::Checksum(_) => Error::Engine(EngineError::Corrupt(format!(
                "the topic `{}` at {}: {broken}",
                self.topic, self.server.shown
            ))),
            Broken::Compressed(_) => self.server.unfit(broken, examine::COMPRESSION_ADVICE),
        }
    }
}
