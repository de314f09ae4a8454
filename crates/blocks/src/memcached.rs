//! Memcached's protocol of lines, as far as a cache needs it: `gets`, `add` and `cas`.
//!
//! A client of our own: those there are block a thread, or have no limits for answers; this is three commands.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use ensue_brokers::{Connection, Dialer};
use ensue_core::error::{Error, LimitError, Result};
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SCHEME: &str = "memcached";
const PORT: u16 = 11211;
/// How long the server may take, connecting included: longer, and the value is loaded without it.
const ANSWER: Duration = Duration::from_secs(1);
/// How many connections are kept that no one uses.
const IDLE_MAX: usize = 16;
/// The longest line.
const LINE_BYTES_MAX: usize = 2048;
/// The largest value, unless the server is told otherwise (`-I`).
pub(crate) const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A client of Memcached. A request has a connection for itself while it lasts.
#[derive(Debug)]
pub(crate) struct Memcached {
    dialer: Dialer,
    idle: Mutex<Vec<Link>>,
}

/// A value, and what changes when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Bytes,
    unique: u64,
}

/// Reads an answer.
type Read<A> = for<'a> fn(&'a mut Link) -> BoxFuture<'a, Result<A, String>>;

struct Link {
    stream: Box<dyn Connection>,
    received: BytesMut,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Memcached {
    /// Takes the URL apart; it is connected with the first question.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let dialer = Dialer::of_anonymous(url, SCHEME, PORT)?;
        // Those who ask one would not hear of what others have told another.
        if dialer.server().addresses.len() > 1 {
            return Err(dialer.server().unfit(
                "the URL has several servers, which know nothing of each other",
                "name one of them",
            ));
        }
        Ok(Self {
            dialer,
            idle: Mutex::default(),
        })
    }

    /// The value of a key, which has no blanks and no control characters.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Found>> {
        let request = format!("gets {key}\r\n");
        self.ask(request.as_bytes(), |link| link.found().boxed())
            .await
    }

    /// Sets a key that has `found`, or nothing; whether it still had.
    pub(crate) async fn set(
        &self,
        key: &str,
        value: &[u8],
        seconds: u32,
        found: Option<&Found>,
    ) -> Result<bool> {
        let bytes = value.len();
        let line = match found {
            None => format!("add {key} 0 {seconds} {bytes}\r\n"),
            Some(found) => format!("cas {key} 0 {seconds} {bytes} {}\r\n", found.unique),
        };
        let request = [line.as_bytes(), value, b"\r\n"].concat();
        let answer = self.ask(&request, |link| link.line().boxed());
        match answer.await?.as_ref() {
            b"STORED" => Ok(true),
            b"EXISTS" | b"NOT_FOUND" | b"NOT_STORED" => Ok(false),
            b"SERVER_ERROR object too large for cache" => Err(Error::Limit(LimitError {
                what: "the size of a value in Memcached in bytes".to_owned(),
                value: bytes as u64,
                limit: "VALUE_BYTES_MAX",
                max: VALUE_BYTES_MAX as u64,
                advice: "cache less of it, or start Memcached with a larger `-I`",
            })),
            other => Err(self.away(String::from_utf8_lossy(other))),
        }
    }

    /// Asks once more where a connection ended that had not been used for a while: that says nothing of the server.
    /// Each request may be repeated.
    async fn ask<A>(&self, request: &[u8], read: Read<A>) -> Result<A> {
        let asking = async {
            let idle = self.idle().pop();
            if let Some(link) = idle {
                match self.ask_by(link, request, read).await {
                    Ok(answer) => return Ok(answer),
                    // Those of its age have ended with it.
                    Err(_) => self.idle().clear(),
                }
            }
            let link = Link {
                stream: self.dialer.dial().await?,
                received: BytesMut::new(),
            };
            let asked = self.ask_by(link, request, read).await;
            asked.map_err(|reason| self.away(reason))
        };
        let asked = tokio::time::timeout(ANSWER, asking).await;
        asked.unwrap_or_else(|_| Err(self.away("it does not answer")))
    }

    /// A connection by which an answer did not come whole is not used again.
    async fn ask_by<A>(&self, mut link: Link, request: &[u8], read: Read<A>) -> Result<A, String> {
        link.say(request).await?;
        let answer = read(&mut link).await?;
        self.keep(link);
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }

    fn away(&self, reason: impl std::fmt::Display) -> Error {
        self.dialer.unavailable(reason)
    }
}

impl Link {
    async fn say(&mut self, request: &[u8]) -> Result<(), String> {
        let written = self.stream.write_all(request).await;
        written.map_err(|error| error.to_string())
    }

    /// The answer to `gets`: `VALUE key flags bytes unique`, the value, and `END`, or that alone.
    async fn found(&mut self) -> Result<Option<Found>, String> {
        let line = self.line().await?;
        if line.as_ref() == b"END" {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line);
        let words: Vec<&str> = text.split(' ').collect();
        let ["VALUE", _, _, bytes, unique] = *words.as_slice() else {
            return Err(text.into_owned());
        };
        let (Ok(bytes), Ok(unique)) = (bytes.parse::<usize>(), unique.parse()) else {
            return Err(text.into_owned());
        };
        if bytes > VALUE_BYTES_MAX * 64 {
            return Err(format!("it has a value of {bytes} bytes"));
        }
        while self.received.len() < bytes + 2 {
            self.fill().await?;
        }
        let value = self.received.split_to(bytes).freeze();
        self.received.advance(2);
        match self.line().await?.as_ref() {
            b"END" => Ok(Some(Found { value, unique })),
            other => Err(String::from_utf8_lossy(other).into_owned()),
        }
    }

    async fn line(&mut self) -> Result<Bytes, String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.received.split_to(end + 1).freeze();
                return Ok(line.slice(..end.saturating_sub(1)));
            }
            if self.received.len() > LINE_BYTES_MAX {
                return Err("its answer is not what Memcached answers".to_owned());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err("the server has ended the connection".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
