//! Asking etcd.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ensue_brokers::Dialer;
use ensue_core::error::{Error, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::message::{Alive, KeyValue, Range, Refused, Streamed, Transaction, Watched, encoded};
use crate::http::{ANSWER_BYTES_MAX, Http};

const SCHEME: &str = "etcd";
const PORT: u16 = 2379;
/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A client of etcd.
pub(crate) struct Etcd(Http);

impl Etcd {
    /// Takes the URL apart; it is connected with the first question.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let dialer = Dialer::of_anonymous(url, SCHEME, PORT)?;
        Ok(Self(Http::new(dialer)))
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
        let request = self.request("watch", &body)?;
        let mut stream = self.0.stream(request, ANSWER).await?;
        if !stream.answer.status().is_success() {
            let refusal = self.0.whole(stream.answer).await?;
            return Err(self.refusal(&refusal));
        }
        let mut received = BytesMut::new();
        while let Some(frame) = stream.answer.body_mut().frame().await {
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
        let answer = self.0.ask(self.request(path, body)?, ANSWER).await?;
        match answer.status().is_success() {
            true => self.read(answer.body()),
            false => Err(self.refusal(&answer)),
        }
    }

    fn request(&self, path: &str, body: &Value) -> Result<Request<Full<Bytes>>> {
        Request::post(format!("/v3/{path}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| self.away(error))
    }

    fn refusal(&self, answer: &Response<Bytes>) -> Error {
        let status = answer.status();
        let said = serde_json::from_slice::<Refused>(answer.body()).ok();
        let said = said.map_or_else(String::new, |it| match it.error {
            Value::String(error) => error,
            _ => it.message,
        });
        let reason = format!("{status}: {said}");
        match status.as_u16() {
            401 | 403 => self.dialer().server().unfit(
                reason,
                "allow everybody who can connect, by client certificates (`cert`, `key`) or by the \
                 network: users of etcd are not supported",
            ),
            // A lease that has ended since is no sign of another server.
            404 if said.is_empty() => self.dialer().server().unfit(
                reason,
                "it has to be etcd 3.4 or later, with its JSON gateway (`--enable-grpc-gateway`)",
            ),
            _ => self.away(reason),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T> {
        serde_json::from_slice(answer).map_err(|error| {
            self.dialer().server().unfit(
                format!("its answer is not what etcd answers ({error})"),
                "check that it is etcd 3.4 or later",
            )
        })
    }

    fn dialer(&self) -> &Dialer {
        self.0.dialer()
    }

    fn away(&self, reason: impl std::fmt::Display) -> Error {
        self.0.away(reason)
    }

    /// Where it is, without secrets.
    pub(crate) fn shown(&self) -> &str {
        &self.dialer().server().shown
    }
}
