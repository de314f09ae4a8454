//! An HTTP client: one connection.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::request;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::described;

pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that is a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The document of an answer that is a problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let document = self.json();
        let found = (self.status.as_u16(), document["code"].as_str().unwrap());
        assert_eq!(found, (status, code), "{document}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(document["status"], status);
        document
    }
}

/// A stream of server-sent events, as far as it came.
pub(crate) struct Stream {
    pieces: tokio::sync::mpsc::Receiver<Bytes>,
    text: String,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) kind: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) data: Option<Value>,
}

impl Stream {
    /// The next one that has data; nothing when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        loop {
            let sent = self.any().await?;
            if sent.data.is_some() {
                return Some(sent);
            }
        }
    }

    /// The next one, heartbeats among them.
    pub(crate) async fn any(&mut self) -> Option<Sent> {
        let patience = crate::site::PATIENCE;
        while !self.text.contains("\n\n") {
            let piece = tokio::time::timeout(patience, self.pieces.recv())
                .await
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        let (sent, rest) = self.text.split_once("\n\n").unwrap();
        let mut found = Sent::default();
        for line in sent.lines() {
            match line.split_once(": ").unwrap() {
                ("event", kind) => found.kind = Some(kind.to_owned()),
                ("id", id) => found.id = Some(id.to_owned()),
                ("data", data) => {
                    let data = serde_json::from_str(data).unwrap();
                    let is_problem = found.kind.as_deref() == Some("problem");
                    described::must_be(
                        if is_problem {
                            "Problem"
                        } else {
                            "RecordedEvent"
                        },
                        &data,
                    );
                    found.data = Some(data);
                }
                ("", "heartbeat") => {}
                _ => panic!("{line}"),
            }
        }
        self.text = rest.to_owned();
        Some(found)
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address).await
    }

    /// Over a connection that is there.
    pub(crate) async fn over<S>(stream: S, address: SocketAddr) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self {
            sender,
            host: address.to_string(),
        }
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method.clone()).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", &self.host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        described::look_at(&method, path, &answer);
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_as(&mut self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", accept)], "")
            .await
    }

    /// A stream of server-sent events.
    pub(crate) async fn stream(self, path: &str, last: Option<&str>) -> Result<Stream, Answer> {
        let mut request = Request::get(path).header("host", &self.host);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        self.stream_of(request).await
    }

    /// The same for a caller with credentials.
    pub(crate) async fn stream_as(self, path: &str, credentials: &str) -> Result<Stream, Answer> {
        let request = Request::get(path).header("host", &self.host);
        let request = request.header("authorization", credentials);
        self.stream_of(request).await
    }

    async fn stream_of(mut self, request: request::Builder) -> Result<Stream, Answer> {
        let request = request.body(Full::default()).unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let (parts, mut body) = response.into_parts();
        if parts.status != 200 {
            return Err(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.collect().await.unwrap().to_bytes(),
            });
        }
        assert_eq!(parts.headers["content-type"], "text/event-stream");
        let (send, pieces) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let piece = frame.into_data().unwrap();
                if send.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(Stream {
            pieces,
            text: String::new(),
        })
    }

    /// Posts an event in the structured mode.
    pub(crate) async fn event(&mut self, path: &str, event: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", "application/cloudevents+json")];
        self.send(Method::POST, path, &headers, event).await
    }

    pub(crate) async fn batch(&mut self, path: &str, events: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        self.send(Method::POST, path, &headers, events).await
    }
}
