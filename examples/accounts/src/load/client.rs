//! A client that does not give up: one connection, and requests that are sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::figures::Figures;
use crate::http::POSITION_HEADER;

/// How long one attempt may take.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(20);
/// How long it waits before the next.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A client with an address of its own, as the service sees it.
pub(super) struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    from: String,
    patience: Duration,
    figures: Arc<Figures>,
    connection: Option<SendRequest<Body>>,
}

/// A request.
#[derive(Clone, Default)]
pub(super) struct Ask<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) body: Option<Value>,
    pub(super) once: Option<&'a str>,
    pub(super) position: Option<&'a str>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) position: Option<String>,
    /// Whether an attempt before may have been carried out without an answer.
    pub(super) is_repeated: bool,
}

impl Ask<'_> {
    /// One with a body.
    pub(super) fn of(body: Value) -> Self {
        Self {
            body: Some(body),
            ..Self::default()
        }
    }
}

impl Answer {
    /// The text at this JSON pointer; empty if there is none.
    pub(super) fn said(&self, pointer: &str) -> &str {
        let said = self.body.pointer(pointer).and_then(Value::as_str);
        said.unwrap_or_default()
    }
}

impl Client {
    pub(super) fn new(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        number: u32,
        patience: Duration,
        figures: Arc<Figures>,
    ) -> Self {
        let [_, a, b, c] = number.to_be_bytes();
        Self {
            address,
            config,
            from: format!("10.{a}.{b}.{c}"),
            patience,
            figures,
            connection: None,
        }
    }

    /// How long it goes on to ask.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends a request until it is answered; what the service refuses for the moment is sent again.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        ask: Ask<'_>,
    ) -> Result<Answer, String> {
        let started = Instant::now();
        let mut is_repeated = false;
        loop {
            let began = Instant::now();
            let attempt = tokio::time::timeout(ATTEMPT_WITHIN, self.attempt(&method, path, &ask));
            let reason = match attempt.await {
                Ok(Ok((status, headers, body))) if is_for_now(status, &body) => {
                    format!("{status}, {headers:?}, {body}")
                }
                Ok(Ok((status, headers, body))) => {
                    self.figures.answered(began.elapsed());
                    let position = headers.get(POSITION_HEADER);
                    let position = position.and_then(|it| it.to_str().ok()).map(str::to_owned);
                    return Ok(Answer {
                        status,
                        body,
                        position,
                        is_repeated,
                    });
                }
                Ok(Err(error)) => error,
                Err(_) => format!("no answer within {ATTEMPT_WITHIN:?}"),
            };
            self.connection = None;
            is_repeated = true;
            self.figures.retried();
            if started.elapsed() > self.patience {
                return Err(format!(
                    "{method} {path}: {reason}, for {:?}",
                    self.patience
                ));
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn attempt(
        &mut self,
        method: &Method,
        path: &str,
        ask: &Ask<'_>,
    ) -> Result<(u16, HeaderMap, Value), String> {
        let connection = match &mut self.connection {
            Some(connection) if !connection.is_closed() => connection,
            _ => {
                let connected = self.connect().await?;
                self.connection.insert(connected)
            }
        };
        let mut request = Request::builder().method(method).uri(path);
        request = request
            .header(HOST, "localhost")
            .header("x-forwarded-for", &self.from);
        if let Some(token) = ask.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in [
            ("idempotency-key", ask.once),
            (POSITION_HEADER, ask.position),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = match &ask.body {
            None => Body::empty(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        let request = request.body(body).map_err(|it| it.to_string())?;
        connection.ready().await.map_err(|it| it.to_string())?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|it| it.to_string())?;
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|it| it.to_string())?
            .to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok((head.status.as_u16(), head.headers, body))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, String> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|it| it.to_string())?;
        stream.set_nodelay(true).map_err(|it| it.to_string())?;
        let name = ServerName::try_from("localhost").map_err(|it| it.to_string())?;
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|it| it.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|it| it.to_string())?;
        // What ends it is seen by the request at hand.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Whether the same request may be answered in another way in a moment.
fn is_for_now(status: u16, body: &Value) -> bool {
    let code = body.get("code").and_then(Value::as_str);
    status == 503 || status == 408 || code == Some("too-many-attempts")
}
