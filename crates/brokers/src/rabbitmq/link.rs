//! One connection to the server, with a deadline on everything, and what the server's refusals mean.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use lapin::auth::AuthProvider;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, LongString, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ErrorKind, Event};
use tokio::time::Instant;

use super::server_properties::ServerProperties;
use super::wire::{self, Scissors, Wire};
use crate::error::{Error, Result};
use crate::shared_log::{Address, Login, Server};
use crate::socket;
pub(super) use crate::socket::{ANSWER, soon};

/// How long a server may take to say goodbye.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// How often each side says that it is there; one that was not heard of for twice as long is gone.
const HEARTBEAT_SECONDS: u16 = 5;

// What the protocol calls its refusals.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// A connection. Dropping it cuts it.
pub(super) struct Link {
    connection: Connection,
    scissors: Scissors,
    events: Mutex<Pin<Box<dyn Stream<Item = Event> + Send>>>,
    pub(super) properties: ServerProperties,
}

impl Link {
    /// Connects to the first address that lets us, until `until`.
    pub(super) async fn open(server: &Server, until: Instant) -> Result<Self> {
        socket::first_fit(server, until, |address| Self::open_at(server, address)).await
    }

    async fn open_at(server: &Server, address: &Address) -> Result<Self> {
        let wire = Wire::connect(server, address).await?;
        let (heard, scissors) = (wire.heard(), wire.scissors());
        let uncut = CutUnlessOpened(Some(scissors));
        let wire = Mutex::new(Some(wire));
        let connected = Connection::connector(
            uri(server, address),
            wire::runtime(),
            async move |_, _| {
                // Once: the library is told not to connect again by itself.
                let wire = wire.lock().ok().and_then(|mut wire| wire.take());
                let wire = wire.ok_or_else(|| lapin::Error::from(ErrorKind::NoDefaultRuntime))?;
                Ok(AsyncTcpStream::Plain(wire))
            },
            client_properties(server),
        );
        let connection = connected
            .await
            .map_err(|error| refused_login(server, &error))?;
        let Some(properties) = ServerProperties::of(&heard.bytes()) else {
            return Err(server.unavailable("it does not speak AMQP 0.9.1"));
        };
        let events = Mutex::new(Box::pin(connection.events_listener()) as Pin<Box<_>>);
        Ok(Self {
            connection,
            scissors: uncut.keep(),
            events,
            properties,
        })
    }

    /// A channel: whatever the server refuses closes it.
    pub(super) async fn channel(&self, server: &Server, until: Instant) -> Result<Channel> {
        answered(server, until, self.connection.create_channel()).await
    }

    /// Whether there is such a queue.
    pub(super) async fn has_queue(
        &self,
        server: &Server,
        queue: &str,
        until: Instant,
    ) -> Result<bool> {
        let channel = self.channel(server, until).await?;
        let options = QueueDeclareOptions::durable().passive();
        let asking = channel.queue_declare(queue.into(), options, FieldTable::default());
        match tokio::time::timeout_at(until, asking).await {
            Err(_) => Err(silent(server)),
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if is_missing(&error) => Ok(false),
            Ok(Err(error)) => Err(refused(server, &error)),
        }
    }

    /// Why the server takes nothing: `None` when it does.
    pub(super) fn blocked(&self) -> Option<String> {
        if !self.connection.status().blocked() {
            return None;
        }
        let mut reason = "memory or disk".to_owned();
        // A poisoned lock only costs the reason.
        if let Ok(mut events) = self.events.lock() {
            while let Some(Some(event)) = events.next().now_or_never() {
                if let Event::ConnectionBlocked(why) = event {
                    reason = why;
                }
            }
        }
        Some(reason)
    }

    /// Says goodbye, and leaves.
    pub(super) async fn close(self) {
        let goodbye = self.connection.close(200, "closed".into());
        // Whether or not it was heard, the connection is gone afterwards.
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.scissors.cut();
    }
}

/// The library's thread waits for a silent server for ever: dropping the future ends it.
struct CutUnlessOpened(Option<Scissors>);

impl CutUnlessOpened {
    fn keep(mut self) -> Scissors {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for CutUnlessOpened {
    fn drop(&mut self) {
        if let Some(scissors) = self.0.take() {
            scissors.cut();
        }
    }
}

/// The answer, if it comes in time.
pub(super) async fn answered<T>(
    server: &Server,
    until: Instant,
    asking: impl Future<Output = lapin::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout_at(until, asking).await {
        Ok(answer) => answer.map_err(|error| refused(server, &error)),
        Err(_) => Err(silent(server)),
    }
}

pub(super) fn silent(server: &Server) -> Error {
    server.unavailable(format!("no answer within {} s", ANSWER.as_secs()))
}

/// What a refusal on an open connection means to the caller.
pub(super) fn refused(server: &Server, error: &lapin::Error) -> Error {
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        return server.unavailable(error);
    };
    let said = refusal.get_message().as_str();
    match refusal.get_id() {
        ACCESS_REFUSED => server.unfit(
            said,
            "give the user the rights to configure `^ensue\\.`, to write `^(amq\\.default)?$` and \
             to read `^ensue\\.` (`rabbitmqctl set_permissions`)",
        ),
        PRECONDITION_FAILED if said.contains(" arg ") => server.unfit(
            said,
            "a queue of that name is there, and is something else: choose another `namespace`",
        ),
        _ => server.unavailable(said),
    }
}

/// Whether a queue is not there, rather than not reachable for the moment.
fn is_missing(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        return false;
    };
    refusal.get_id() == NOT_FOUND && refusal.get_message().as_str().contains("no queue")
}

fn refused_login(server: &Server, error: &lapin::Error) -> Error {
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        return match error.kind() {
            ErrorKind::InvalidProtocolVersion(_) => server.unfit(error, "it must offer AMQP 0.9.1"),
            _ => server.unavailable(error),
        };
    };
    let said = refusal.get_message().as_str();
    match refusal.get_id() {
        ACCESS_REFUSED => server.unfit(
            said,
            "check user and password; `guest` may log in from the server's own machine only",
        ),
        // A virtual host that starts, or that has too many connections, will be there later.
        NOT_ALLOWED if !said.contains("is down") && !said.contains("limit") => server.unfit(
            said,
            "name a virtual host that is there and that the user may use: `amqp://host/vhost`",
        ),
        _ => server.unavailable(said),
    }
}

fn uri(server: &Server, address: &Address) -> AMQPUri {
    let userinfo = match &server.login {
        Some(Login { user, password }) => AMQPUserInfo {
            username: user.clone(),
            password: password.clone(),
        },
        // What every server comes with, and lets in from its own machine.
        None => AMQPUserInfo {
            username: "guest".to_owned(),
            password: "guest".to_owned(),
        },
    };
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo,
            host: address.host.clone(),
            port: address.port,
        },
        vhost: match server.path.as_str() {
            "" => "/".to_owned(),
            path => path.to_owned(),
        },
        query: AMQPQueryString {
            heartbeat: Some(HEARTBEAT_SECONDS),
            ..AMQPQueryString::default()
        },
    }
}

fn client_properties(server: &Server) -> ConnectionProperties {
    let name = format!("ensue {}", server.namespace);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let has_certificate = server.tls.as_ref().is_some_and(|tls| tls.client.is_some());
    if has_certificate && server.login.is_none() {
        properties.with_auth_provider(Certificate)
    } else {
        properties
    }
}

/// Logging in by the client's certificate alone.
struct Certificate;

impl AuthProvider for Certificate {
    fn mechanism(&self) -> ShortString {
        "EXTERNAL".into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        Ok("".into())
    }
}
