//! Reading: a subscription that stays open while one read goes on where the last one ended.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::delivery::{Delivered, From, Subscription};
use super::first_message::{FirstMessage, gone};
use super::link::{Link, soon};
use crate::error::{EngineError, Error, Result};
use crate::shared_log::{Message, Server};

/// How many messages the server sends ahead of their being read, plus a chunk of the stream. More
/// made reading no faster, and they may be large.
const PREFETCH: u16 = 32;
/// A subscription that has just begun may be this slow to deliver what is there already, however
/// little patience its reader has.
const BEGINNING: Duration = Duration::from_millis(100);

/// A connection with a subscription. Everything that is awaited may be dropped: what has come
/// stays here.
pub(super) struct Reader {
    link: Link,
    subscription: Subscription,
    /// The stream's offset that is due: there are no gaps.
    due: u64,
    /// From where the next read is expected to go on.
    next: u64,
    /// What has come and was not read yet.
    here: VecDeque<Message>,
    bytes_here: usize,
    /// What was due when something later came, until it is known whether that is a loss.
    doubt: Option<u64>,
    /// Until when to wait for the first message, at least.
    beginning: Option<Instant>,
}

impl Reader {
    /// Connects, checks that the log is still the one that was opened and read, and subscribes.
    /// `witness` is the last message that was read.
    pub(super) async fn open(
        server: &Server,
        queue: &str,
        first: &FirstMessage,
        from: u64,
        witness: Option<&Message>,
    ) -> Result<Self> {
        let until = soon();
        let link = Link::open(server, until).await?;
        // A witness is read again, right before what is to be read.
        let witness = witness.filter(|it| it.sequence.checked_add(1) == Some(from));
        let begin = witness.map_or(from, |it| it.sequence);
        // Together, because each takes some round trips.
        let (is_there, now, subscription) = tokio::join!(
            link.has_queue(server, queue, until),
            FirstMessage::find(&link, server, queue, until),
            subscribe(&link, server, queue, begin, until),
        );
        if !is_there? {
            return Err(gone(server));
        }
        first.check(&now?, server, from)?;
        let mut subscription = subscription?;
        if let Some(witness) = witness {
            testify(server, &mut subscription, witness, until).await?;
        }
        Ok(Self {
            link,
            subscription,
            due: from,
            next: from,
            here: VecDeque::new(),
            bytes_here: 0,
            doubt: None,
            beginning: Some(Instant::now() + BEGINNING),
        })
    }

    /// Subscribes again when `from` is not where the last read ended.
    pub(super) async fn seek(
        &mut self,
        server: &Server,
        queue: &str,
        from: u64,
        until: Instant,
    ) -> Result<()> {
        if from == self.next {
            return Ok(());
        }
        self.subscription = subscribe(&self.link, server, queue, from, until).await?;
        self.here.clear();
        self.bytes_here = 0;
        self.doubt = None;
        self.due = from;
        self.next = from;
        self.beginning = Some(Instant::now() + BEGINNING);
        Ok(())
    }

    /// Reads on, as [`SharedLog::read`](crate::shared_log::SharedLog::read) says.
    pub(super) async fn read(
        &mut self,
        server: &Server,
        queue: &str,
        first: &FirstMessage,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Vec<Message>> {
        let patient = Instant::now().checked_add(patience);
        while self.here.is_empty() {
            // `None` is longer than clocks go.
            let until = patient.map(|patient| self.beginning.map_or(patient, |it| it.max(patient)));
            let waiting = self.subscription.next(server);
            let delivered = match until {
                None => waiting.await,
                Some(until) => match tokio::time::timeout_at(until, waiting).await {
                    Ok(delivered) => delivered,
                    Err(_) => return Ok(Vec::new()),
                },
            };
            self.admit(delivered?);
        }
        while self.bytes_here < bytes_max {
            let Some(delivered) = self.subscription.next_here(server) else {
                break;
            };
            self.admit(delivered?);
        }
        if let Some(due) = self.doubt {
            let now = FirstMessage::find(&self.link, server, queue, soon()).await?;
            first.check(&now, server, due)?;
            self.doubt = None;
        }
        self.subscription.acknowledge(server, soon()).await?;
        Ok(self.take(bytes_max))
    }

    pub(super) async fn close(self) {
        self.link.close().await;
    }

    /// Takes a message in, unless it is before what is due.
    fn admit(&mut self, delivered: Delivered) {
        if delivered.offset < self.due {
            return;
        }
        if delivered.offset > self.due {
            self.doubt.get_or_insert(self.due);
        }
        self.due = delivered.offset.saturating_add(1);
        self.beginning = None;
        if delivered.log_id.is_none() {
            self.bytes_here = self.bytes_here.saturating_add(delivered.body.len());
            self.here.push_back(Message {
                sequence: delivered.offset,
                body: delivered.body,
            });
        }
    }

    /// At least one, and more as long as they fit.
    fn take(&mut self, bytes_max: usize) -> Vec<Message> {
        let mut taken: Vec<Message> = Vec::new();
        let mut bytes = 0_usize;
        while let Some(message) = self.here.front() {
            bytes = bytes.saturating_add(message.body.len());
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            self.next = message.sequence.saturating_add(1);
            self.bytes_here = self.bytes_here.saturating_sub(message.body.len());
            taken.extend(self.here.pop_front());
        }
        taken
    }
}

async fn subscribe(
    link: &Link,
    server: &Server,
    queue: &str,
    from: u64,
    until: Instant,
) -> Result<Subscription> {
    let from = From::Offset(from);
    Subscription::start(link, server, queue, from, PREFETCH, until).await
}

/// Checks that the last message that was read is still where it was: a server that lost what it
/// had acknowledged numbers new messages like those it lost.
async fn testify(
    server: &Server,
    subscription: &mut Subscription,
    witness: &Message,
    until: Instant,
) -> Result<()> {
    let sequence = witness.sequence;
    loop {
        let next = tokio::time::timeout_at(until, subscription.next(server));
        let Ok(delivered) = next.await else {
            // A node of a cluster may be behind the one that was read from.
            return Err(server.unavailable(format!(
                "it does not have message {sequence} yet, which was read before"
            )));
        };
        let delivered = delivered?;
        if delivered.offset < sequence {
            continue;
        }
        if delivered.offset == sequence && delivered.body == witness.body {
            return Ok(());
        }
        return Err(Error::Engine(EngineError::Corrupt(format!(
            "the server at `{}` has lost what it acknowledged: message {sequence} is another one \
             than was read before; a stream is not synced, so power cuts do that",
            server.shown
        ))));
    }
}
