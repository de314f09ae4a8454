//! One who appends until everything is acknowledged, and what must be in the log then.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Message, RETURN, SharedLog, pause, timely};
use crate::error::{EngineError, Error};

/// Appends numbered messages and remembers which ones were acknowledged.
pub(super) struct Appender {
    name: String,
    next: u64,
    /// In the order in which they were appended.
    pub(super) acknowledged: Vec<Bytes>,
    /// Whether something was appended once more, because a server that was away or slow did not
    /// answer in time: it may be there twice.
    has_repeated: bool,
}

impl Appender {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            next: 0,
            acknowledged: Vec::new(),
            has_repeated: false,
        }
    }

    /// New messages, each with up to `padding_max` bytes of no meaning.
    pub(super) fn messages(&mut self, count: usize, padding_max: usize) -> Vec<Bytes> {
        let message = |_| {
            self.next += 1;
            let mut body = format!("{}#{:08}#", self.name, self.next).into_bytes();
            body.resize_with(body.len() + fastrand::usize(..=padding_max), || {
                fastrand::u8(..)
            });
            Bytes::from(body)
        };
        (0..count).map(message).collect()
    }

    /// Appends until it is acknowledged, however often the server is away.
    pub(super) async fn append(&mut self, log: &dyn SharedLog, count: usize, padding_max: usize) {
        let messages = self.messages(count, padding_max);
        let began = Instant::now();
        loop {
            match timely(Duration::ZERO, log.append(messages.clone())).await {
                Ok(()) => break self.acknowledged.extend(messages),
                Err(Error::Engine(EngineError::Unavailable { .. })) if began.elapsed() < RETURN => {
                    pause().await
                }
                Err(error) => panic!("{}: {error}", self.name),
            }
            self.has_repeated = true;
        }
    }

    fn is_own(&self, message: &Message) -> bool {
        let name = self.name.as_bytes();
        message.body.starts_with(name) && message.body.get(name.len()) == Some(&b'#')
    }

    /// Everything that was acknowledged is there, in the order in which it was appended. What was
    /// appended again may be there more than once.
    pub(super) fn check(&self, all: &[Message]) {
        let mut missing: VecDeque<_> = self.acknowledged.iter().collect();
        for message in all.iter().filter(|message| self.is_own(message)) {
            if missing.front() == Some(&&message.body) {
                missing.pop_front();
            }
        }
        assert!(
            missing.is_empty(),
            "{}: {} of {} messages are missing or out of order, from {:?} on",
            self.name,
            missing.len(),
            self.acknowledged.len(),
            missing.front().map(|body| &body[..body.len().min(40)])
        );
    }

    /// As [`Self::check`], and nothing is there that was never appended, or twice unless it was
    /// appended again.
    pub(super) fn check_exactly(&self, all: &[Message]) {
        let own: Vec<_> = all.iter().filter(|message| self.is_own(message)).collect();
        let bodies: Vec<_> = own.iter().map(|message| message.body.clone()).collect();
        if self.has_repeated {
            let appended: HashSet<_> = self.acknowledged.iter().collect();
            let stray = bodies.iter().find(|body| !appended.contains(body));
            assert_eq!(stray, None, "{}: never appended", self.name);
            return self.check(all);
        }
        assert!(
            bodies == self.acknowledged,
            "{}: {} messages were appended, {} others were read",
            self.name,
            self.acknowledged.len(),
            bodies.len()
        );
    }
}
