//! One connection to a NATS server, used until the first sign of trouble.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::{self, Context, ContextBuilder, ErrorCode};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use super::{ANSWER, UNANSWERED_MESSAGES_MAX};
use crate::error::{Error, Result};
use crate::shared_log::Server;
use crate::socket;

/// Below the time of a call, so that the reason is still heard.
const CONNECT: Duration = Duration::from_secs(4);
/// How often a silent server is asked whether it is there.
const PING: Duration = Duration::from_secs(2);
/// The oldest server that has what is used here, as `[major, minor, patch]`.
const OLDEST: [i64; 3] = [2, 9, 0];

/// A connection. Its clones are the same one.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) context: Context,
    trouble: Arc<watch::Sender<Option<Trouble>>>,
}

/// Why a connection is of no more use.
#[derive(Clone, Debug)]
enum Trouble {
    Lost,
    /// What the server said.
    Forbidden(String),
}

impl Link {
    /// Connects, and checks that the server is one that can be used.
    pub(super) async fn new(server: &Server) -> Result<Self> {
        let trouble = Arc::new(watch::Sender::new(None));
        let client = connect(server, Arc::clone(&trouble)).await?;
        let info = client.server_info();
        let [major, minor, patch] = OLDEST;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(server.unfit(
                format!("it is NATS {}", info.version),
                format!("NATS {major}.{minor} is the oldest that works: upgrade it"),
            ));
        }
        if !info.jetstream {
            return Err(server.unfit(
                "it has no JetStream",
                "start it with `--jetstream` and a directory for its data",
            ));
        }
        let context = ContextBuilder::new()
            .timeout(ANSWER)
            .ack_timeout(ANSWER)
            // Never the limit: fewer are under way.
            .max_ack_inflight(UNANSWERED_MESSAGES_MAX * 2)
            .build(client);
        Ok(Self { context, trouble })
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.trouble, &other.trouble)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    /// Stops every use of it.
    pub(super) fn lose(&self) {
        self.trouble.send_replace(Some(Trouble::Lost));
    }

    /// Awaits `call` as long as the connection is there.
    pub(super) async fn alive<T>(
        &self,
        server: &Server,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut trouble = self.trouble.subscribe();
        tokio::select! {
            // What was answered counts, also when the connection ended right after.
            biased;
            result = call => result,
            trouble = trouble.wait_for(Option::is_some) => {
                Err(match trouble.ok().and_then(|trouble| trouble.clone()) {
                    Some(Trouble::Forbidden(reason)) => server.unfit(
                        reason,
                        "allow the user to publish to `ensue.>` and `$JS.API.>`, and to subscribe \
                         to `_INBOX.>`",
                    ),
                    Some(Trouble::Lost) | None => server.unavailable("the connection was lost"),
                })
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("is_lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

async fn connect(server: &Server, trouble: Arc<watch::Sender<Option<Trouble>>>) -> Result<Client> {
    let mut options = ConnectOptions::new()
        .name("ensue")
        .connection_timeout(CONNECT)
        .request_timeout(Some(ANSWER))
        .ping_interval(PING)
        // A lost connection is replaced here, by the next call. The library would send what it
        // holds back whenever the server returns: let it give up after a round of all servers.
        .max_reconnects(server.addresses.len())
        .ignore_discovered_servers()
        .event_callback(move |event| {
            let found = trouble_in(event);
            if found.is_some() {
                trouble.send_replace(found);
            }
            std::future::ready(())
        });
    if let Some(login) = &server.login {
        options = if login.password.is_empty() {
            // A user without a password is how a URL carries a token.
            options.token(login.user.clone())
        } else {
            options.user_and_password(login.user.clone(), login.password.clone())
        };
    }
    if let Some(tls) = &server.tls {
        options = options
            .require_tls(true)
            .tls_client_config((*socket::encryption(tls)?).clone());
    }
    let addresses = server.addresses.iter();
    let addresses = addresses.map(|address| format!("nats://{address}").parse());
    let addresses: Vec<ServerAddr> = addresses
        .collect::<Result<_, _>>()
        .map_err(|error| server.unavailable(error))?;
    let connected = options.connect(addresses).await;
    connected.map_err(|error| unconnected(server, &error))
}

fn trouble_in(event: Event) -> Option<Trouble> {
    match event {
        Event::Disconnected | Event::Closed => Some(Trouble::Lost),
        // A request that is forbidden has no other answer.
        Event::ServerError(error) => {
            let reason = error.to_string();
            let is_forbidden = reason
                .to_ascii_lowercase()
                .contains("permissions violation");
            is_forbidden.then_some(Trouble::Forbidden(reason))
        }
        _ => None,
    }
}

fn unconnected(server: &Server, error: &ConnectError) -> Error {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => server
            .unfit(
                "it refused the login",
                "check the user and the password in the URL",
            ),
        ConnectErrorKind::Tls => server.unfit(
            format!("the connection could not be encrypted: {error}"),
            "check `ca`, `cert` and `key` in the URL",
        ),
        _ => match encrypting(error) {
            Some(error) => socket::refusal(server, error),
            None => server.unavailable(error),
        },
    }
}

/// What went wrong when the connection was encrypted, if that is why.
fn encrypting(error: &ConnectError) -> Option<&std::io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && let Some(inner) = error.get_ref()
            && inner.is::<rustls::Error>()
        {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// The server's own words in an error, if it spoke.
pub(super) fn answer_to_get(error: &GetStreamError) -> Option<jetstream::Error> {
    match error.kind() {
        GetStreamErrorKind::JetStream(answer) => Some(answer),
        _ => None,
    }
}

/// As [`answer_to_get`].
pub(super) fn answer_to_create(error: &CreateStreamError) -> Option<jetstream::Error> {
    match error.kind() {
        CreateStreamErrorKind::JetStream(answer) => Some(answer),
        _ => None,
    }
}

/// The error of a server that does not do what it is asked to.
pub(super) fn refused(
    server: &Server,
    error: impl fmt::Display,
    answer: Option<jetstream::Error>,
) -> Error {
    let advice = match answer.map(|answer| answer.error_code()) {
        Some(ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT) => {
            "give the account JetStream"
        }
        Some(ErrorCode::STREAM_SUBJECT_OVERLAP) => {
            "another stream takes the subject: use another `namespace`"
        }
        Some(ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED) => {
            "lower `replicas` in the URL, or run a cluster"
        }
        _ => return server.unavailable(error),
    };
    server.unfit(error, advice)
}
