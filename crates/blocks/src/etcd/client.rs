//! Asking etcd.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ensue_brokers::{Connection, Dialer};
use ensue_core::error::{Error, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::message::{Alive, KeyValue, Range, Refused, Streamed, Transaction, Watched, encoded};

const SCHEME: &str = "etcd";
const PORT: u16 = 2379;
/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest answer: a value has 1.5 MiB at the most, unless the server is told otherwise.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How many connections are kept that no one uses.
const IDLE_MAX: usize = 4;

/// A client of etcd. A request has a connection for itself while it lasts.
pub(crate) struct Etcd {
    dialer: Dialer,
    idle: Mutex<Vec<Link>>,
}

struct Link {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Etcd {
    /// Takes the URL apart; it is connected with the first question.
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self {
            dialer: Dialer::of_anonymous(url, SCHEME, PORT)?,
            idle: Mutex::default(),
        })
    }

    /// The value of a key, and the revision at which it was looked.
    pub(crate) async fn get(&self, key: &str) -> Result<(Option<KeyValue>, i64)> {
        let range: Range = self
            .ask("kv/range", &json!({ "key": encoded(key) }))
            .await?;
        Ok((range.kvs.into_iter().next(), range.header.revision))
    }

    pub(crate) async fn range(&self, range: &Value) -> Result<(Vec<KeyValue>, i64)> {
        let range: Range = self.ask("kv/range", range).await?;
        Ok((range.kvs, range.header.revision))
    }

    /// Whether the condition held, and the keys of each range that was asked for.
    pub(crate) async fn transaction(&self, body: &Value) -> Result<(bool, Vec<Vec<KeyValue>>)> {
        let answer: Transaction = self.ask("kv/txn", body).await?;
        let ranges = answer.responses.into_iter();
        let ranges = ranges.filter_map(|it| it.response_range);
        Ok((answer.succeeded, ranges.map(|it| it.kvs).collect()))
    }

    /// Begins a lease with this number, or, if it has begun, renews it.
    pub(crate) async fn lease(&self, id: i64, seconds: u64) -> Result<()> {
        if self.keep_alive(id).await? {
            return Ok(());
        }
        let body = json!({ "ID": id.to_string(), "TTL": seconds.to_string() });
        let _: Value = self.ask("lease/grant", &body).await?;
        Ok(())
    }

    /// Renews a lease; whether it was still there.
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<bool> {
        let body = json!({ "ID": id.to_string() });
        let alive: Streamed<Alive> = self.ask("lease/keepalive", &body).await?;
        Ok(alive.result.is_some_and(|it| it.ttl > 0))
    }

    /// Ends a lease, and removes what depends on it.
    pub(crate) async fn revoke(&self, id: i64) -> Result<()> {
        let body = json!({ "ID": id.to_string() });
        let revoked: Result<Value> = self.ask("lease/revoke", &body).await;
        match revoked {
            Err(error) if error.to_string().contains("lease not found") => Ok(()),
            revoked => revoked.map(drop),
        }
    }

    /// Waits until the key changes at `revision` or later, for as long as that takes. Cancel-safe.
    pub(crate) async fn changed(&self, key: &str, revision: i64) -> Result<()> {
        let create = json!({ "key": encoded(key), "start_revision": revision.to_string() });
        let body = json!({ "create_request": create });
        let mut link = self.open().await?;
        let asked = tokio::time::timeout(ANSWER, self.send(&mut link, "watch", &body)).await;
        let mut stream = asked.unwrap_or_else(|_| Err(self.away("it does not answer")))?;
        let mut received = BytesMut::new();
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|error| self.away(error))?;
            if let Some(part) = frame.data_ref() {
                received.extend_from_slice(part);
            }
            if received.len() > ANSWER_BYTES_MAX {
                return Err(self.away("it says more than it was asked"));
            }
            // One message a line.
            while let Some(end) = received.iter().position(|byte| *byte == b'\n') {
                let line = received.split_to(end + 1);
                let said: Streamed<Watched> = self.read(&line)?;
                let Some(said) = said.result else {
                    return Err(self.away("it has ended the watch with an error"));
                };
                // Cancelled is what is compacted: who asked looks again.
                if said.canceled || !said.events.is_empty() {
                    return Ok(());
                }
            }
        }
        Err(self.away("it has ended what it streamed"))
    }

    /// Asks, within the time for an answer.
    async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let asking = async {
            let mut link = match self.idle() {
                Some(link) => link,
                None => self.open().await?,
            };
            let answer = self.send(&mut link, path, body).await?;
            let limited = Limited::new(answer, ANSWER_BYTES_MAX);
            let answer = limited.collect().await;
            let answer = answer.map_err(|error| self.away(error))?.to_bytes();
            self.keep(link);
            self.read(&answer)
        };
        let asked = tokio::time::timeout(ANSWER, asking).await;
        asked.unwrap_or_else(|_| Err(self.away("it does not answer")))
    }

    async fn send(&self, link: &mut Link, path: &str, body: &Value) -> Result<Incoming> {
        let request = Request::post(format!("/v3/{path}"))
            .header("host", &link.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| self.away(error))?;
        let answer = link.sender.send_request(request).await;
        let answer = answer.map_err(|error| self.away(error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        Err(self.refusal(answer).await)
    }

    async fn refusal(&self, answer: Response<Incoming>) -> Error {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map(|it| it.to_bytes());
        let said = body
            .ok()
            .and_then(|it| serde_json::from_slice::<Refused>(&it).ok());
        let said = said.map_or_else(String::new, |it| match it.error {
            Value::String(error) => error,
            _ => it.message,
        });
        let reason = format!("{status}: {said}");
        match status.as_u16() {
            401 | 403 => self.dialer.server().unfit(
                reason,
                "allow everybody who can connect, by client certificates (`cert`, `key`) or by the \
                 network: users of etcd are not supported",
            ),
            // A lease that has ended since is no sign of another server.
            404 if said.is_empty() => self.dialer.server().unfit(
                reason,
                "it has to be etcd 3.4 or later, with its JSON gateway (`--enable-grpc-gateway`)",
            ),
            _ => self.away(reason),
        }
    }

    async fn open(&self) -> Result<Link> {
        let (stream, address) = self.dialer.dial_with_address().await?;
        let sender = self.speak(stream).await?;
        Ok(Link {
            sender,
            host: address.to_string(),
        })
    }

    async fn speak(&self, stream: Box<dyn Connection>) -> Result<SendRequest<Full<Bytes>>> {
        let greeted = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = greeted.map_err(|error| self.away(error))?;
        // It ends with its last sender; errors reach who asks.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn idle(&self) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(link) = idle.pop() {
            if !link.sender.is_closed() && link.sender.is_ready() {
                return Some(link);
            }
        }
        None
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T> {
        serde_json::from_slice(answer).map_err(|error| {
            self.dialer.server().unfit(
                format!("its answer is not what etcd answers ({error})"),
                "check that it is etcd 3.4 or later",
            )
        })
    }

    fn away(&self, reason: impl std::fmt::Display) -> Error {
        self.dialer.unavailable(reason)
    }

    /// Where it is, without secrets.
    pub(crate) fn shown(&self) -> &str {
        &self.dialer.server().shown
    }
}
