//! HTTP/1.1 to a server of a building block, over connections by its [`Dialer`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_brokers::{Connection, Dialer};
use ensue_core::error::{Error, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// The longest answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How many connections are kept that no one uses.
const IDLE_MAX: usize = 4;

/// A client. A request has a connection for itself while it lasts.
pub(crate) struct Http {
    dialer: Dialer,
    idle: Mutex<Vec<Link>>,
}

struct Link {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

/// An answer that goes on.
pub(crate) struct Streaming {
    pub(crate) answer: Response<Incoming>,
    /// Its connection, which no one else uses before it ends.
    _link: Link,
}

impl Http {
    /// Connects with the first question.
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            idle: Mutex::default(),
        }
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The whole answer, within `limit`.
    pub(crate) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Bytes>> {
        let asking = async {
            let mut link = match self.idle() {
                Some(link) => link,
                None => self.open().await?,
            };
            let answer = self.send(&mut link, request).await?;
            let answer = self.whole(answer).await?;
            self.keep(link);
            Ok(answer)
        };
        let asked = tokio::time::timeout(limit, asking).await;
        asked.unwrap_or_else(|_| Err(self.away("it does not answer")))
    }

    /// An answer that begins within `limit`.
    pub(crate) async fn stream(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Streaming> {
        let mut link = self.open().await?;
        let asked = tokio::time::timeout(limit, self.send(&mut link, request)).await;
        let answer = asked.unwrap_or_else(|_| Err(self.away("it does not answer")))?;
        Ok(Streaming {
            answer,
            _link: link,
        })
    }

    /// The rest of an answer.
    pub(crate) async fn whole(&self, answer: Response<Incoming>) -> Result<Response<Bytes>> {
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.away(error))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    async fn send(
        &self,
        link: &mut Link,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>> {
        request.headers_mut().insert(HOST, link.host.clone());
        let answer = link.sender.send_request(request).await;
        answer.map_err(|error| self.away(error))
    }

    async fn open(&self) -> Result<Link> {
        let (stream, address) = self.dialer.dial_with_address().await?;
        let host = HeaderValue::try_from(address.to_string()).map_err(|error| self.away(error))?;
        let sender = self.speak(stream).await?;
        Ok(Link { sender, host })
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

    pub(crate) fn away(&self, reason: impl std::fmt::Display) -> Error {
        self.dialer.unavailable(reason)
    }
}
