//! A client's connection to a server, for one request after the other.

#![allow(clippy::disallowed_types, reason = "it is a client of the server")]

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::Value;

use crate::serving::answer;

/// A connection that stays, and is opened again after it was closed.
pub(crate) struct Link {
    address: String,
    stream: Option<TcpStream>,
}

impl Link {
    /// To the server at this address, opened by the first request.
    pub(crate) fn to(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
        }
    }

    /// The same, opened now; nothing when the server is gone.
    pub(crate) fn open(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        Some(Self {
            address: address.to_owned(),
            stream: Some(stream),
        })
    }

    /// Whether the next request goes over the same connection as the last.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// The status and the body of an answer, unless the server is gone.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> Option<(u16, Value)> {
        let Some(text) = self.exchange(method, path, kind, body) else {
            self.stream = None;
            return None;
        };
        let (head, body) = text.split_once("\r\n\r\n")?;
        if head.contains("\r\nconnection: close") {
            self.stream = None;
        }
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap()))
    }

    /// The same with a body in JSON.
    pub(crate) fn json(&mut self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        self.call(method, path, "application/json", &body.to_string())
    }

    fn exchange(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Option<String> {
        if self.stream.is_none() {
            self.stream = TcpStream::connect(&self.address).ok();
        }
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             \r\n{body}",
            body.len()
        );
        let stream = self.stream.as_mut()?;
        stream.write_all(request.as_bytes()).ok()?;
        answer(stream)
    }
}
