//! A shared log in memory that does whatever a server may do to those who use it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::replica::Connector;
use crate::shared_log::{About, Finding, Message, Server, SharedLog};

/// The logs there are, by namespace: a way to a server is a plain function.
static LOGS: LazyLock<Mutex<HashMap<String, Arc<Wild>>>> = LazyLock::new(Mutex::default);

pub(super) const CONNECTOR: Connector = Connector {
    port: 1,
    dial: |url| Box::pin(async move { Ok(Arc::new(Line::to(&url)?) as Arc<dyn SharedLog>) }),
};

/// How often a call goes wrong, in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Troubles {
    pub(super) appends: u8,
    pub(super) reads: u8,
    /// The most bytes of a message.
    pub(super) message_bytes_max: usize,
}

pub(super) struct Wild {
    pub(super) namespace: String,
    troubles: Troubles,
    sea: Mutex<Sea>,
    /// Changes with every message.
    grown: watch::Sender<u64>,
}

struct Sea {
    random: Rng,
    messages: BTreeMap<u64, Bytes>,
    end: u64,
    /// How many messages are gone although others behind them are there.
    holes: usize,
    /// What was sent, was not acknowledged, and comes to be there later.
    late: Vec<Bytes>,
    /// A line from before the last crash is broken.
    crashes: usize,
    /// Who cannot reach the log, and until when.
    held: HashMap<String, Instant>,
    /// Whether a call has met that.
    has_held: bool,
    /// So many reads bring nothing.
    slow_reads: usize,
}

impl Wild {
    pub(super) fn new(seed: u64, troubles: Troubles) -> Arc<Self> {
        let log = Arc::new(Self {
            namespace: format!("wild_{:016x}", fastrand::u64(..)),
            troubles,
            sea: Mutex::new(Sea {
                random: Rng::with_seed(seed),
                messages: BTreeMap::new(),
                end: 1,
                holes: 0,
                late: Vec::new(),
                crashes: 0,
                held: HashMap::new(),
                has_held: false,
                slow_reads: 0,
            }),
            grown: watch::Sender::new(0),
        });
        let mut logs = LOGS.lock().unwrap();
        logs.insert(log.namespace.clone(), log.clone());
        log
    }

    fn sea(&self) -> MutexGuard<'_, Sea> {
        self.sea.lock().unwrap()
    }

    /// Whether one call more goes wrong.
    fn is_bad(&self, percent: u8) -> bool {
        self.sea().random.u8(..100) < percent
    }

    /// Cuts a process off for a while: its calls neither succeed nor fail.
    pub(super) fn hold(&self, process: &str, pause: Duration) {
        let until = Instant::now() + pause;
        self.sea().held.insert(process.to_owned(), until);
    }

    /// Whether a call of one that is cut off waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.sea().has_held
    }

    /// Adds messages as if another process sent them.
    pub(super) fn add(&self, messages: impl IntoIterator<Item = Bytes>) {
        self.sea().add(messages);
        self.grown.send_modify(|count| *count += 1);
    }

    /// All that is there, in order.
    pub(super) fn messages(&self) -> Vec<Bytes> {
        self.sea().messages.values().cloned().collect()
    }

    /// Loses everything, as if the log had been removed, and tells its readers nothing;
    /// numbers start over.
    pub(super) fn vanish(&self) {
        let mut sea = self.sea();
        sea.messages.clear();
        sea.end = 1;
    }

    /// Loses a message that others came after, as if it had been deleted.
    pub(super) fn lose_from_the_middle(&self) {
        let mut sea = self.sea();
        let middle = sea.messages.len() / 2;
        let sequence = sea.messages.keys().nth(middle).copied().unwrap();
        sea.messages.remove(&sequence);
        sea.holes += 1;
    }

    /// So many reads that come now bring nothing, whatever is there.
    pub(super) fn slow_down(&self, reads: usize) {
        self.sea().slow_reads = reads;
    }

    pub(super) fn is_slow(&self) -> bool {
        self.sea().slow_reads > 0
    }

    /// Loses the newest messages, which were acknowledged, and its readers.
    pub(super) fn crash(&self, count: usize) {
        {
            let mut sea = self.sea();
            for _ in 0..count {
                sea.messages.pop_last();
            }
            sea.crashes += 1;
        }
        self.grown.send_modify(|count| *count += 1);
    }
}

impl Sea {
    fn add(&mut self, messages: impl IntoIterator<Item = Bytes>) {
        for message in messages {
            self.messages.insert(self.end, message);
            // Sequence numbers may have gaps.
            self.end += self.random.u64(1..4);
        }
    }

    /// An append that goes wrong: what of it is there, and what is still to come.
    fn add_badly(&mut self, messages: Vec<Bytes>) {
        match self.random.u8(..5) {
            0 => {}
            1 => self.add(messages),
            2 => {
                let count = self.random.usize(..=messages.len());
                self.add(messages.into_iter().take(count));
            }
            3 => {
                let some: Vec<_> = messages
                    .into_iter()
                    .filter(|_| self.random.bool())
                    .collect();
                self.add(some);
            }
            _ => self.late.extend(messages),
        }
    }
}

/// A process's connection.
struct Line {
    server: Server,
    process: String,
    log: Arc<Wild>,
    /// How many crashes it has noticed.
    crashes: AtomicUsize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.process)
    }
}

impl Line {
    fn to(url: &Url) -> Result<Self> {
        let server = Server::of(url, CONNECTOR.port)?;
        let logs = LOGS.lock().unwrap();
        Ok(Self {
            process: server.addresses[0].host.clone(),
            log: logs[&server.namespace].clone(),
            crashes: AtomicUsize::new(0),
            server,
        })
    }

    fn fail(&self) -> Error {
        self.server.unavailable("the sea is rough")
    }

    async fn wait_until_free(&self) {
        loop {
            let until = self.log.sea().held.get(&self.process).copied();
            match until.and_then(|until| until.checked_duration_since(Instant::now())) {
                Some(wait) => {
                    self.log.sea().has_held = true;
                    tokio::time::sleep(wait).await;
                }
                None => return,
            }
        }
    }

    fn find(&self, from: u64, bytes_max: usize) -> Result<Vec<Message>> {
        let mut sea = self.log.sea();
        if self.crashes.swap(sea.crashes, Ordering::Relaxed) < sea.crashes {
            return Err(self.fail());
        }
        if sea.slow_reads > 0 {
            sea.slow_reads -= 1;
            return Ok(Vec::new());
        }
        let most = if sea.random.bool() {
            sea.random.usize(1..8)
        } else {
            usize::MAX
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (sequence, body) in sea.messages.range(from..).take(most) {
            bytes += body.len();
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(Message {
                sequence: *sequence,
                body: body.clone(),
            });
        }
        Ok(found)
    }
}

impl SharedLog for Line {
    fn about(&self) -> About {
        About {
            server: "Wild".to_owned(),
            is_durable: true,
        }
    }

    fn message_bytes_max(&self) -> usize {
        self.log.troubles.message_bytes_max
    }

    fn append(&self, messages: Vec<Bytes>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.wait_until_free().await;
            let is_bad = self.log.is_bad(self.log.troubles.appends);
            {
                let mut sea = self.log.sea();
                let late = std::mem::take(&mut sea.late);
                sea.add(late);
                if is_bad {
                    sea.add_badly(messages);
                } else {
                    sea.add(messages);
                }
            }
            self.log.grown.send_modify(|count| *count += 1);
            if is_bad { Err(self.fail()) } else { Ok(()) }
        })
    }

    fn read(
        &self,
        from: u64,
        bytes_max: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Vec<Message>>> {
        Box::pin(async move {
            self.wait_until_free().await;
            if self.log.is_bad(self.log.troubles.reads) {
                return Err(self.fail());
            }
            let mut grown = self.log.grown.subscribe();
            let found = self.find(from, bytes_max)?;
            if !found.is_empty() {
                return Ok(found);
            }
            let _ = tokio::time::timeout(patience, grown.changed()).await;
            self.wait_until_free().await;
            self.find(from, bytes_max)
        })
    }

    fn find(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            self.wait_until_free().await;
            if self.log.is_bad(self.log.troubles.reads) {
                return Err(self.fail());
            }
            Ok(self.log.sea().messages.get(&sequence).cloned())
        })
    }

    fn check_whole(&self, _: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.wait_until_free().await;
            match self.log.sea().holes {
                0 => Ok(()),
                holes => Err(Error::Engine(EngineError::Corrupt(format!(
                    "{holes} messages were removed"
                )))),
            }
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async {
            let sea = self.log.sea();
            let last = sea.messages.last_key_value();
            Ok(last.map_or(0, |(sequence, _)| sequence + 1))
        })
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn remove(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.log.sea().messages.clear();
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
