//! The connection to the server: one for everything, made again when it is gone.

#![allow(clippy::disallowed_types, reason = "an engine connects to its server")]

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ensue_core::background;
use ensue_core::error::{EngineError, Error, OpenError, Result};
use ensue_proto::v1::engine_service_client::EngineServiceClient;
use ensue_proto::{error_of_status, v1};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::InvalidUri;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use crate::greeting::{Greeted, Greeting};
use crate::options::Options;
use crate::tls::{self, Tls};
use crate::token::Token;

/// The variable with the reason of what cannot be taken back, for the server's audit trail.
const REASON: &str = "ENSUE_REASON";
/// How long one attempt at connecting may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// When to ask whether the server is there, and how long it may take to say so: a network that swallows
/// everything says nothing by itself.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was not used for so long is not used again: the server may be about to close it.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How much the server may send ahead, for one call and for all of them.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Why a server cannot be used, and what to do.
const PLAIN: (&str, &str) = (
    "it does not speak TLS, and the URL asks for it",
    "leave out `tls=true`, or give the address of a server that has `[tls]`",
);
const OTHER_SERVICE: (&str, &str) = (
    "what answers there is not Ensue: it does not know `ensue.v1.EngineService`",
    "give the address of `ensue serve`",
);
/// The largest head of an answer, in bytes.
const HEADERS_BYTES_MAX: u32 = 256 * 1024;
/// The largest message of an answer, in bytes: a status names every topic.
const ANSWER_BYTES_MAX: usize = 1024 * 1024 * 1024;

pub(crate) type Client = EngineServiceClient<Channel>;

/// The way to the server.
#[derive(Debug)]
pub(crate) struct Link {
    options: Options,
    origin: Uri,
    encryption: Option<Arc<ClientConfig>>,
    /// What every call says of its caller.
    headers: HeaderMap,
    /// One dials, the others wait for it.
    dialling: tokio::sync::Mutex<()>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    channel: Channel,
    run: Run,
    used: Instant,
    _task: Task,
}

/// The task of a connection, which ends with this.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Which run of the server a connection is to: another knows nothing of the calls that came to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run(String);

impl Run {
    /// Whether it is certain that both are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        // A server that does not tell its runs apart has none.
        self == other && !self.0.is_empty()
    }
}

/// A connection, for the generated client.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Body>,
    headers: HeaderMap,
    token: Arc<Token>,
}

/// Encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.clone()));
        request.headers_mut().extend(headers);
        if let Some(token) = self.token.current() {
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        Box::pin(self.sender.send_request(request))
    }
}

impl Link {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let origin = format!("{scheme}://{}", options.authority()).parse();
        let origin = origin.map_err(|error: InvalidUri| unavailable(&options, error))?;
        let encryption = options.tls.as_ref().map(Tls::config).transpose()?;
        Ok(Self {
            headers: headers(),
            options,
            origin,
            encryption,
            dialling: tokio::sync::Mutex::default(),
            open: Mutex::default(),
        })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client on the connection that there is, or on a new one, and what it is connected to.
    ///
    /// # Errors
    /// Nothing was sent: [`EngineError::Unavailable`], or what the server says to those whom it does not
    /// let in.
    pub(crate) async fn client(&self) -> Result<(Client, Run)> {
        let (channel, run) = match self.usable() {
            Some(usable) => usable,
            None => {
                let _turn = self.dialling.lock().await;
                match self.usable() {
                    Some(usable) => usable,
                    None => self.dial().await?,
                }
            }
        };
        Ok((self.client_on(channel), run))
    }

    fn client_on(&self, channel: Channel) -> Client {
        let client = EngineServiceClient::with_origin(channel, self.origin.clone());
        client
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(usize::MAX)
    }

    fn usable(&self) -> Option<(Channel, Run)> {
        let mut open = self.open();
        let open = open.as_mut()?;
        if open.channel.sender.is_closed() || open.used.elapsed() > IDLE_MAX {
            return None;
        }
        open.used = Instant::now();
        Some((open.channel.clone(), open.run.clone()))
    }

    async fn dial(&self) -> Result<(Channel, Run)> {
        self.options.token.renew().await;
        let (host, port) = (self.options.host.clone(), self.options.port);
        let encryption = self.encryption.clone();
        let dialled = background::run(async move {
            let connect = connect(&host, port, encryption);
            Ok(tokio::time::timeout(DIAL_TIMEOUT, connect).await)
        });
        let late = || unavailable(&self.options, format!("no answer within {DIAL_TIMEOUT:?}"));
        let (sender, task, greeting) = match dialled.await? {
            Ok(connected) => connected.map_err(|failed| failed.error(&self.options))?,
            Err(_) => return Err(late()),
        };
        let task = Task(task);
        let channel = Channel {
            sender,
            headers: self.headers.clone(),
            token: self.options.token.clone(),
        };
        let mut client = self.client_on(channel.clone());
        let info = client.get_info(v1::GetInfoRequest {});
        let info = tokio::time::timeout(DIAL_TIMEOUT, info).await;
        // One that is another's stays that, however often it is asked.
        let stranger = greeting
            .stranger()
            .map(|it| unfit(&self.options, it.reason()));
        let info = match (info, stranger) {
            (Ok(Ok(info)), _) => info,
            (_, Some(stranger)) => return Err(stranger),
            (Ok(Err(status)), None) if status.code() == Code::Unimplemented => {
                return Err(unfit(&self.options, OTHER_SERVICE));
            }
            (Ok(Err(status)), None) => return Err(error_of_status(&status, &self.options.shown)),
            (Err(_), None) => return Err(late()),
        };
        let run = Run(info.into_inner().run);
        *self.open() = Some(Open {
            channel: channel.clone(),
            run: run.clone(),
            used: Instant::now(),
            _task: task,
        });
        Ok((channel, run))
    }

    /// What calls have as their token now.
    pub(crate) fn token(&self) -> Option<HeaderValue> {
        self.options.token.current()
    }

    /// Whether the server refused the token that a call had, and there is another by now.
    pub(crate) async fn has_other_token(
        &self,
        status: &Status,
        refused: Option<&HeaderValue>,
    ) -> bool {
        status.code() == Code::Unauthenticated && self.options.token.is_other_than(refused).await
    }

    /// The error of a server that is away.
    pub(crate) fn unavailable(&self, reason: impl ToString) -> Error {
        unavailable(&self.options, reason)
    }

    /// An engine that is closed at the server, which stops then: another may be started in its place.
    pub(crate) fn away_if_closed(&self, error: Error) -> Error {
        match error {
            Error::Engine(EngineError::Closed) => self.unavailable("its engine is closed"),
            error => error,
        }
    }

    /// Cuts the connection, whatever is under way.
    pub(crate) fn cut(&self) {
        let _open = self.open().take();
    }
}

fn unavailable(options: &Options, reason: impl ToString) -> Error {
    Error::Engine(EngineError::Unavailable {
        server: options.shown.clone(),
        reason: reason.to_string(),
    })
}

/// It stays as it is: the reason, and what to do.
fn unfit(options: &Options, (reason, advice): (&str, &str)) -> Error {
    Error::Open(OpenError::Unfit {
        server: options.shown.clone(),
        reason: reason.to_owned(),
        advice: advice.to_owned(),
    })
}

/// Why there is no connection.
enum Failed {
    /// The server may be back.
    Away(String),
    /// It does not encrypt.
    Plain,
}

impl Failed {
    fn error(&self, options: &Options) -> Error {
        match self {
            Self::Away(reason) => unavailable(options, reason),
            Self::Plain => unfit(options, PLAIN),
        }
    }
}

/// What every call says of its caller besides the token: why operators do what they do.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let reason = std::env::var(REASON).unwrap_or_default();
    let reason = utf8_percent_encode(&reason, NON_ALPHANUMERIC).to_string();
    if let Some(reason) = HeaderValue::from_str(&reason)
        .ok()
        .filter(|it| !it.is_empty())
    {
        headers.insert("ensue-reason", reason);
    }
    headers
}

async fn connect(
    host: &str,
    port: u16,
    encryption: Option<Arc<ClientConfig>>,
) -> std::result::Result<(SendRequest<Body>, AbortHandle, Greeting), Failed> {
    let away = |error: &dyn std::fmt::Display| Failed::Away(error.to_string());
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    let stream = stream.map_err(|error| away(&error))?;
    let stream: Box<dyn Wire> = match encryption {
        None => Box::new(stream),
        Some(config) => {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| away(&error))?;
            let encrypted = TlsConnector::from(config).connect(name, stream).await;
            Box::new(encrypted.map_err(|error| match tls::is_plain(&error) {
                true => Failed::Plain,
                false => Failed::Away(tls::in_words(&error)),
            })?)
        }
    };
    let (stream, greeting) = Greeted::new(stream);
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|error| away(&error))?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the server ended");
        }
    });
    Ok((sender, task.abort_handle(), greeting))
}
