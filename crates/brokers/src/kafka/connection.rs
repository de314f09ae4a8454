//! One connection to one broker: opened, encrypted, logged in, and then a request at a time or
//! several in a row.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::protocol::{self, Api, Code, Request};
use super::scram::{Hash, Scram};
use super::versions::{self, Versions};
use super::wire::{Read, Reader, put_length, put_string};
use crate::error::{Error, Result};
use crate::shared_log::{Address, Login, Server};
use crate::socket;

pub(super) const ANSWER: Duration = socket::ANSWER;
/// More than a broker sends: what is asked for is limited well below.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// How a user proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Sends the password.
    Plain,
    Scram(Hash),
}

impl Mechanism {
    pub(super) const ALL: [Self; 3] = [
        Self::Scram(Hash::Sha512),
        Self::Scram(Hash::Sha256),
        Self::Plain,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512) => "SCRAM-SHA-512",
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection. A future of it that is dropped half-way ends the connection, too: what is left in it
/// belongs to no request.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    server: Server,
    /// What the next request is numbered, and what the next answer is.
    asked: i32,
    answered: i32,
    /// Which requests the broker takes; none until it was asked.
    versions: Versions,
}

impl Connection {
    pub(super) async fn open(
        server: &Server,
        address: &Address,
        mechanism: Mechanism,
    ) -> Result<Self> {
        let opening = async {
            let stream = socket::open(server, address).await?;
            let stream: Box<dyn Stream> = match &server.tls {
                None => Box::new(stream),
                Some(tls) => {
                    let config = socket::encryption(tls)?;
                    let encrypted = socket::encrypt(&config, &address.host, stream).await;
                    Box::new(encrypted.map_err(|error| socket::refusal(server, &error))?)
                }
            };
            let mut connection = Self {
                stream,
                server: server.clone(),
                asked: 0,
                answered: 0,
                versions: Versions::default(),
            };
            connection.negotiate().await?;
            if let Some(login) = &server.login {
                connection.log_in(login, mechanism).await?;
            }
            Ok(connection)
        };
        let opened = timeout(ANSWER, opening).await;
        opened.unwrap_or_else(|_| Err(silent(server)))
    }

    /// Learns which requests the broker takes, in which versions.
    async fn negotiate(&mut self) -> Result<()> {
        let (mut code, versions) = self.ask(versions::ask(), Versions::read).await?;
        let versions = match versions {
            Some(versions) => versions,
            None => {
                let oldest = self.ask(versions::ask_oldest(), Versions::read_oldest);
                let (answered, versions) = oldest.await?;
                code = answered;
                versions
            }
        };
        self.check(code)?;
        self.versions = versions;
        Ok(())
    }

    /// The level of the cluster's metadata, which goes up with its version; `None` before KRaft.
    pub(super) fn metadata_level(&self) -> Option<i16> {
        self.versions.metadata_level
    }

    /// Sends a request and reads its answer.
    pub(super) async fn ask<T>(
        &mut self,
        request: Request,
        read: impl FnOnce(Reader) -> Read<T>,
    ) -> Result<T> {
        self.ask_within(ANSWER, request, read).await
    }

    /// As [`Self::ask`], with the time that the answer may take.
    pub(super) async fn ask_within<T>(
        &mut self,
        time: Duration,
        request: Request,
        read: impl FnOnce(Reader) -> Read<T>,
    ) -> Result<T> {
        self.send(request).await?;
        self.answer_within(time, read).await
    }

    /// Sends a request, whose answer is to be read later.
    ///
    /// # Errors
    /// [`OpenError::Unfit`](crate::error::OpenError::Unfit) before anything is sent, when the broker does
    /// not take such requests.
    pub(super) async fn send(&mut self, request: Request) -> Result<()> {
        if request.api.number != Api::VERSIONS.number {
            let checked = self.versions.check(request.api);
            checked.map_err(|mismatch| self.server.unfit(&mismatch, mismatch.advice()))?;
        }
        let mut head = Vec::with_capacity(64);
        head.put_i16(request.api.number);
        head.put_i16(request.api.version);
        head.put_i32(self.asked);
        put_string(&mut head, "ensue");
        if request.api == Api::VERSIONS {
            // The one request in the newer form: no tagged fields.
            head.put_u8(0);
        }
        self.asked = self.asked.wrapping_add(1);
        let mut whole = Vec::with_capacity(4 + head.len() + request.body.len());
        put_length(&mut whole, head.len() + request.body.len());
        whole.append(&mut head);
        whole.extend_from_slice(&request.body);
        let writing = async {
            self.stream.write_all(&whole).await?;
            self.stream.flush().await
        };
        match timeout(ANSWER, writing).await {
            Ok(written) => written.map_err(|error| self.server.unavailable(error)),
            Err(_) => Err(silent(&self.server)),
        }
    }

    /// Reads the answer to the oldest request that has none.
    pub(super) async fn answer<T>(&mut self, read: impl FnOnce(Reader) -> Read<T>) -> Result<T> {
        self.answer_within(ANSWER, read).await
    }

    async fn answer_within<T>(
        &mut self,
        time: Duration,
        read: impl FnOnce(Reader) -> Read<T>,
    ) -> Result<T> {
        let answer = match timeout(time, self.receive()).await {
            Ok(received) => received.map_err(|error| self.server.unavailable(error))?,
            Err(_) => return Err(silent(&self.server)),
        };
        let mut reader = Reader::new(answer);
        let expected = self.answered;
        self.answered = self.answered.wrapping_add(1);
        match reader.i32() {
            Ok(number) if number == expected => {}
            _ => return Err(self.server.unavailable("it answers something else")),
        }
        read(reader).map_err(|error| self.server.unavailable(error))
    }

    async fn receive(&mut self) -> std::io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other("it speaks another protocol"));
        }
        // Grows with what comes, whatever the length says.
        let mut answer = BytesMut::with_capacity(length.min(1 << 20));
        let mut rest = (&mut self.stream).take(length as u64);
        while answer.len() < length {
            if rest.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(answer.freeze())
    }

    async fn log_in(&mut self, login: &Login, mechanism: Mechanism) -> Result<()> {
        let handshake = protocol::sasl_handshake(mechanism.name());
        let (code, enabled) = self.ask(handshake, protocol::read_sasl_handshake).await?;
        if code == Code::UNSUPPORTED_SASL_MECHANISM {
            let known = Mechanism::ALL.iter().map(|it| it.name());
            let usable: Vec<_> = known
                .filter(|name| enabled.iter().any(|enabled| enabled == name))
                .collect();
            let reason = format!("it does not log in with {}", mechanism.name());
            return Err(self.server.unfit(
                reason,
                if usable.is_empty() {
                    "enable SCRAM-SHA-512 on it".to_owned()
                } else {
                    format!("set `mechanism` in the URL to {}", usable.join(" or "))
                },
            ));
        }
        self.check(code)?;
        match mechanism {
            Mechanism::Plain => {
                let token = format!("\0{}\0{}", login.user, login.password);
                self.authenticate(token.as_bytes()).await?;
            }
            Mechanism::Scram(hash) => self.log_in_with_scram(login, hash).await?,
        }
        Ok(())
    }

    async fn log_in_with_scram(&mut self, login: &Login, hash: Hash) -> Result<()> {
        let began = Scram::new(hash, login);
        let scram = began.ok_or_else(|| self.server.unavailable("the system has no randomness"))?;
        let challenge = self.authenticate(scram.first().as_bytes()).await?;
        let proof = std::str::from_utf8(&challenge)
            .ok()
            .and_then(|challenge| scram.prove(challenge));
        let proof =
            proof.ok_or_else(|| self.server.unavailable("its SCRAM challenge is malformed"))?;
        let verdict = self.authenticate(proof.message.as_bytes()).await?;
        if verdict == proof.signature.as_bytes() {
            Ok(())
        } else {
            Err(self.server.unfit(
                "it does not know the password itself",
                "check that the URL names the right server",
            ))
        }
    }

    async fn authenticate(&mut self, token: &[u8]) -> Result<Bytes> {
        let request = protocol::sasl_authenticate(token);
        let (code, answer) = self.ask(request, protocol::read_sasl_authenticate).await?;
        self.check(code)?;
        Ok(answer)
    }

    fn check(&self, code: Code) -> Result<()> {
        refused(&self.server, code, None).map_or(Ok(()), Err)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server.shown)
            .finish_non_exhaustive()
    }
}

fn silent(server: &Server) -> Error {
    server.unavailable("no answer within 5 s")
}

/// The error of an answer's code, if it is one.
pub(super) fn refused(server: &Server, code: Code, said: Option<String>) -> Option<Error> {
    let advice = match code {
        Code::NONE => return None,
        Code::TOPIC_AUTHORIZATION_FAILED | Code::CLUSTER_AUTHORIZATION_FAILED => {
            "allow the user to create, describe, read, write and delete the topics `ensue-*`, and \
             to describe their configuration"
        }
        Code::SASL_AUTHENTICATION_FAILED => "check the user and the password in the URL",
        Code::ILLEGAL_SASL_STATE => {
            "name a port with SASL in the URL, or leave the user and the password out"
        }
        Code::UNSUPPORTED_VERSION => {
            "the broker lacks a request that a log needs: use Kafka 2.1 to 4"
        }
        Code::POLICY_VIOLATION => "create the topic by hand, with one partition",
        _ => "",
    };
    let number = code.0;
    let mut reason = format!("{} (error {number})", code.meaning());
    if let Some(said) = said {
        reason = format!("{reason}: {said}");
    }
    Some(if advice.is_empty() {
        server.unavailable(reason)
    } else {
        server.unfit(reason, advice)
    })
}
