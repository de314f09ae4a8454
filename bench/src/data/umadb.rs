//! UmaDB, a server for event sourcing: conditional appends by its gRPC protocol.
//!
//! Asked by hand, in the one call that is measured: its client crate brings a second library for TLS. An account
//! is a tag; the append fails if the store has an event with that tag after the last one that is known.

#![allow(clippy::disallowed_types, reason = "it speaks to a server by hand")]

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::TcpStream;

use super::deposits::{Accounts, TYPE, payload};
use crate::Outcome;
use crate::load::Worker;

/// Several workers' requests are on one connection at the same time.
const CONNECTIONS_MAX: usize = 16;
/// What comes before each message: whether it is compressed, and how long it is.
const PREFIX_BYTES: usize = 5;

#[derive(Clone, PartialEq, prost::Message)]
struct AppendRequest {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
    #[prost(message, optional, tag = "2")]
    condition: Option<Condition>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(string, tag = "1")]
    event_type: String,
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Condition {
    #[prost(message, optional, tag = "1")]
    fail_if_events_match: Option<Query>,
    #[prost(uint64, optional, tag = "2")]
    after: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Query {
    #[prost(message, repeated, tag = "1")]
    items: Vec<QueryItem>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct QueryItem {
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AppendResponse {
    #[prost(uint64, tag = "1")]
    position: u64,
}

pub(super) struct UmaDb {
    sender: SendRequest<Full<Bytes>>,
    uri: String,
    accounts: Accounts,
    /// A run's accounts are new to the server.
    run: u64,
    positions: HashMap<String, u64>,
}

impl UmaDb {
    /// As many as want to append, on a few connections.
    pub(super) async fn workers(url: &str, count: usize) -> Outcome<Vec<Self>> {
        let mut senders = Vec::new();
        let address = url.strip_prefix("http://").ok_or("a URL with http")?;
        for _ in 0..count.min(CONNECTIONS_MAX) {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let shaking = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .handshake(TokioIo::new(stream));
            let (sender, connection) = shaking.await?;
            // It ends with its last sender; errors reach who asks.
            tokio::spawn(async move { drop(connection.await) });
            senders.push(sender);
        }
        let run = fastrand::u64(..);
        let worker = |(number, sender): (usize, &SendRequest<_>)| Self {
            sender: sender.clone(),
            uri: format!("{url}/umadb.v1.DCB/Append"),
            accounts: Accounts::of(number),
            run,
            positions: HashMap::new(),
        };
        let senders = senders.iter().cycle().take(count);
        Ok(senders.enumerate().map(worker).collect())
    }

    async fn append(&mut self, request: &AppendRequest) -> Outcome<AppendResponse> {
        let mut body = BytesMut::with_capacity(PREFIX_BYTES + request.encoded_len());
        body.put_u8(0);
        body.put_u32(u32::try_from(request.encoded_len())?);
        request.encode(&mut body)?;
        let request = Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body.freeze()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let refusal = answer.headers().get("grpc-message").cloned();
        let answer = answer.into_body().collect().await?;
        let said = answer
            .trailers()
            .and_then(|it| it.get("grpc-message"))
            .cloned();
        let answer = answer.to_bytes();
        match answer.get(PREFIX_BYTES..) {
            Some(message) => Ok(AppendResponse::decode(message)?),
            None => Err(format!("UmaDB refuses it: {:?}", refusal.or(said)).into()),
        }
    }
}

impl Worker for UmaDb {
    async fn step(&mut self) -> Outcome<usize> {
        let key = self.accounts.next();
        let tags = vec![format!("{}-{:x}", key, self.run)];
        let request = AppendRequest {
            events: vec![Event {
                event_type: TYPE.to_owned(),
                tags: tags.clone(),
                data: payload()?.into(),
            }],
            condition: Some(Condition {
                fail_if_events_match: Some(Query {
                    items: vec![QueryItem { tags }],
                }),
                after: self.positions.get(&key).copied(),
            }),
        };
        let appended = self.append(&request).await?;
        self.positions.insert(key, appended.position);
        Ok(1)
    }
}
