//! A session: it lives on the server while something is heard from it in time, over one connection or many.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ensue_brokers::{Connection, Dialer};
use ensue_core::error::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::wire::{
    self, Answer, CHILDREN, CLOSE, CREATE, CREATE_CONTAINER, Created, EVENT, EXISTS, Malformed,
    Message, Mode, Operation, PING, PINGS,
};

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
const PASSWORD_BYTES: usize = 16;
/// What is read at a time.
const READ_BYTES: usize = 4096;

const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;
const SESSION_EXPIRED: i32 = -112;

/// What a session cannot do.
#[derive(Debug)]
pub(crate) enum Failure {
    NoNode,
    NodeExists,
    /// The session has ended, and what it had with it.
    Expired,
    Server(Error),
}

type Result<T, E = Failure> = std::result::Result<T, E>;

/// One caller at a time. A call that is dropped may or may not have had its effect.
pub(crate) struct Session {
    dialer: Arc<Dialer>,
    timeout: Duration,
    id: i64,
    password: Bytes,
    seen: i64,
    xid: i32,
    link: Option<Link>,
}

struct Link {
    stream: Box<dyn Connection>,
    received: BytesMut,
}

impl Session {
    /// A session that is to live for `timeout` without a word; the server has bounds of its own.
    pub(crate) async fn begin(dialer: Arc<Dialer>, timeout: Duration) -> Result<Self> {
        let mut session = Self {
            dialer,
            timeout,
            id: 0,
            password: Bytes::from_static(&[0; PASSWORD_BYTES]),
            seen: 0,
            xid: 0,
            link: None,
        };
        session.connect().await?;
        Ok(session)
    }

    /// How long it lives without a word.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) async fn create(&mut self, path: &str, mode: Mode) -> Result<Created> {
        let kind = match mode {
            Mode::Container => CREATE_CONTAINER,
            Mode::Persistent | Mode::EphemeralSequential => CREATE,
        };
        let mut answer = self.ask(kind, |it| it.create(path, b"", mode)).await?;
        let path = self.read(answer.text())?;
        let czxid = self.read(answer.czxid())?;
        Ok(Created { path, czxid })
    }

    pub(crate) async fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let mut answer = self
            .ask(CHILDREN, |it| it.text(path).boolean(false))
            .await?;
        self.read(answer.texts())
    }

    /// Which transaction has made the node.
    pub(crate) async fn czxid(&mut self, path: &str) -> Result<i64> {
        let mut answer = self.ask(EXISTS, |it| it.text(path).boolean(false)).await?;
        self.read(answer.czxid())
    }

    /// Does all of it or nothing.
    pub(crate) async fn all(&mut self, operations: &[Operation<'_>]) -> Result<()> {
        let answer = self
            .ask(wire::MULTI, |it| it.operations(operations))
            .await?;
        match self.read(answer.failure())? {
            None => Ok(()),
            Some(code) => Err(self.failure(code)),
        }
    }

    /// Waits until the node is gone or has changed, and keeps the session alive meanwhile. Cancel-safe.
    pub(crate) async fn changed(&mut self, path: &str) -> Result<()> {
        match self.ask(EXISTS, |it| it.text(path).boolean(true)).await {
            Ok(_) => {}
            Err(Failure::NoNode) => return Ok(()),
            Err(error) => return Err(error),
        }
        loop {
            let Some(link) = &mut self.link else {
                // Watches are the connection's.
                return Ok(());
            };
            match tokio::time::timeout(self.timeout / 3, link.frame()).await {
                Ok(frame) => {
                    let mut answer = Answer(self.received(frame)?);
                    if self.read(answer.int())? == EVENT {
                        return Ok(());
                    }
                }
                Err(_) => self.send(Message::request(PING, PINGS)).await?,
            }
        }
    }

    /// Ends the session, and with it its nodes.
    pub(crate) async fn close(&mut self) -> Result<()> {
        match self.ask(CLOSE, |it| it).await {
            Ok(_) | Err(Failure::Expired) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and waits for its answer.
    async fn ask(&mut self, kind: i32, fill: impl FnOnce(Message) -> Message) -> Result<Answer> {
        let deadline = Instant::now() + ANSWER;
        if self.link.is_none() {
            self.connect().await?;
        }
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        let xid = self.xid;
        let sending = self.send(fill(Message::request(xid, kind)));
        let sent = tokio::time::timeout_at(deadline, sending).await;
        // What was not taken away with it is gone: a part of the request may be written.
        sent.unwrap_or_else(|_| Err(self.away("it does not take what is sent")))?;
        loop {
            let Some(link) = &mut self.link else {
                return Err(self.away("the connection has ended"));
            };
            let frame = tokio::time::timeout_at(deadline, link.frame()).await;
            let frame = frame.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            let mut answer = Answer(self.received(frame)?);
            let found = self.read(answer.int())?;
            let zxid = self.read(answer.long())?;
            let code = self.read(answer.int())?;
            // Answers to what was given up, to pings, and events that no one waits for any more.
            if found != xid {
                continue;
            }
            self.seen = self.seen.max(zxid);
            return match code {
                0 => Ok(answer),
                code => Err(self.failure(code)),
            };
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let stream = self.dialer.dial().await.map_err(Failure::Server)?;
        let mut link = Link {
            stream,
            received: BytesMut::new(),
        };
        let millis = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        let hello = Message::hello(self.seen, millis, self.id, &self.password);
        let greeted = async {
            let written = link.stream.write_all(&hello.finish()).await;
            written.map_err(|error| error.to_string())?;
            link.frame().await
        };
        let greeted = tokio::time::timeout(ANSWER, greeted).await;
        let greeted = greeted.unwrap_or_else(|_| Err("it does not greet".to_owned()));
        let mut answer = Answer(self.received(greeted)?);
        let _version = self.read(answer.int())?;
        let millis = self.read(answer.int())?;
        let id = self.read(answer.long())?;
        let password = self.read(answer.bytes())?;
        let Some(millis) = u64::try_from(millis).ok().filter(|it| *it > 0 && id != 0) else {
            return Err(Failure::Expired);
        };
        self.timeout = Duration::from_millis(millis);
        self.id = id;
        self.password = password;
        self.link = Some(link);
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        // Out of its place while a part of it may be written: who gives up then, gives up the connection.
        let Some(mut link) = self.link.take() else {
            return Err(self.away("the connection has ended"));
        };
        let written = link.stream.write_all(&message.finish()).await;
        written.map_err(|error| self.away(error))?;
        self.link = Some(link);
        Ok(())
    }

    fn received(&mut self, frame: Result<Bytes, String>) -> Result<Bytes> {
        frame.map_err(|reason| {
            self.link = None;
            self.away(reason)
        })
    }

    fn read<T>(&self, read: Result<T, Malformed>) -> Result<T> {
        read.map_err(|Malformed| self.away("its answer is not what ZooKeeper answers"))
    }

    fn failure(&mut self, code: i32) -> Failure {
        match code {
            NO_NODE => Failure::NoNode,
            NODE_EXISTS => Failure::NodeExists,
            SESSION_EXPIRED => Failure::Expired,
            code => self.away(format_args!("it reports the code {code}")),
        }
    }

    fn away(&self, reason: impl std::fmt::Display) -> Failure {
        Failure::Server(self.dialer.unavailable(reason))
    }
}

impl Link {
    /// The next answer. Cancel-safe: what was received of it stays.
    async fn frame(&mut self) -> Result<Bytes, String> {
        loop {
            let frame = wire::frame(&mut self.received);
            let frame = frame.map_err(|Malformed| "its answer has no length".to_owned())?;
            if let Some(frame) = frame {
                return Ok(frame);
            }
            self.received.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err("the server has ended the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that greets and then reads nothing, as one does that was stopped or whose network was cut.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let dialer = Dialer::of_anonymous("zookeeper://127.0.0.1:9", "zookeeper", 9).unwrap();
        let mut session = Session {
            dialer: Arc::new(dialer),
            timeout: ANSWER,
            id: 1,
            password: Bytes::from_static(&[0; PASSWORD_BYTES]),
            seen: 0,
            xid: 0,
            link: Some(Link {
                stream: Box::new(ours),
                received: BytesMut::new(),
            }),
        };
        let set = session.all(&[Operation::Set("/a", &[0; 1024])]).await;
        assert!(matches!(set, Err(Failure::Server(_))), "{set:?}");
        assert!(session.link.is_none(), "half a request was sent");
    }
}
