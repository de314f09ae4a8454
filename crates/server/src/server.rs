//! A server, before it listens and while it does.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ensue::{Engine, Metrics, Timestamp};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::{InvalidAddress, ListenAddress};
use crate::config::{Config, ConfigError};
use crate::context::Context;
use crate::hangup::Hangups;
use crate::phase::Phase;
use crate::security::{Caller, Difference, Operation, Security};
use crate::trace::Tracing;
use crate::webhooks::{self, StartError, Webhooks};
use crate::{connections, http};

/// How often the files are looked at that certificates, tokens and permissions are in.
const FILES_PERIOD: Duration = Duration::from_secs(2);

/// An engine over HTTP.
///
/// ```
/// use ensue::prelude::*;
/// use ensue_server::Server;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let running = Server::new(engine.clone()).listen("127.0.0.1:0")?.start().await?;
/// println!("curl http://{}/v1/status", running.address());
/// running.stop().await;
/// engine.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a server does nothing until it is started"]
pub struct Server {
    engine: Engine,
    config: Config,
    services: Metrics,
    tracing: Tracing,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A setting cannot be what it is, or names a file that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; is another server running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system answered.
        reason: io::Error,
    },
    /// The groups of the webhooks cannot be joined.
    #[error("cannot start the webhooks: {0}")]
    Webhooks(#[source] ensue::Error),
}

impl From<StartError> for ServerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Webhook { name, problem } => {
                Self::Config(ConfigError::Webhook { name, problem })
            }
            StartError::Engine(error) => Self::Webhooks(error),
        }
    }
}

impl Server {
    /// A server of `engine`, with the settings that [`Config`] has by default.
    pub fn new(engine: impl Into<Engine>) -> Self {
        Self {
            engine: engine.into(),
            config: Config::default(),
            services: Metrics::default(),
            tracing: Tracing::default(),
        }
    }

    /// With these settings in place of the former ones.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Listens on this address; port 0 is one that is free. It has to be a loopback address, unless there
    /// are TLS and authentication.
    ///
    /// # Errors
    /// [`InvalidAddress`] when it is not an address and a port.
    pub fn listen(mut self, address: &str) -> Result<Self, InvalidAddress> {
        self.config.listen = address.parse::<ListenAddress>()?;
        Ok(self)
    }

    /// Shows the counters of these services ([`App::metrics`](ensue::App::metrics)) among its own, at
    /// `/metrics`.
    pub fn metrics(mut self, services: Metrics) -> Self {
        self.services = services;
        self
    }

    /// Records spans of requests, of the events that they append and of what webhooks send.
    #[cfg(feature = "otel")]
    pub fn telemetry(mut self, telemetry: ensue_otel::Telemetry) -> Self {
        self.tracing = telemetry.into();
        self
    }

    /// Checks a configuration, and the files that it names, without listening.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting is at fault.
    pub fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()?;
        Security::open(config)?;
        let checked = webhooks::check(&config.webhooks);
        checked.map_err(|(name, problem)| ConfigError::Webhook { name, problem })
    }

    /// Checks that the address of a configuration can be listened at now: for a program that would make
    /// something else before it listens.
    ///
    /// # Errors
    /// [`ServerError::Listen`] when it is in use, or is none of this machine's.
    pub async fn check_address(config: &Config) -> Result<(), ServerError> {
        listen(config).await.map(|_| ())
    }

    /// Starts to listen. The engine stays the caller's, who closes it after the server has stopped.
    ///
    /// # Errors
    /// [`ServerError`] when a setting or a webhook cannot be as it is configured, or the address is in
    /// use.
    pub async fn start(self) -> Result<Running, ServerError> {
        self.config.check()?;
        let (config, security) = opened(self.config).await?;
        let (listener, address) = listen(&config).await?;
        let webhooks = Webhooks::start(
            &self.engine,
            (&config.webhooks, &config.personal),
            (&self.services, &self.tracing),
        );
        let webhooks = Arc::new(webhooks.await?);
        let (phase, phases) = watch::channel(Phase::default());
        let parts = (security, self.services, webhooks.clone(), self.tracing);
        let context = Context::new(self.engine, address, &config, parts, phases);
        let router = http::router(context.clone());
        tokio::spawn(follow_files(context.clone()));
        tokio::spawn(follow_providers(context.clone()));
        let task = tokio::spawn(connections::serve(context.clone(), listener, router));
        Ok(Running {
            address,
            context,
            phase,
            task,
            webhooks,
            drain_delay: config.limits.drain_delay,
            drain_timeout: config.limits.drain_timeout,
        })
    }

    /// Serves until the process is asked to stop (Ctrl-C, SIGTERM), and answers what is under way; asked
    /// again, it waits for no load balancer. SIGHUP reloads certificates, tokens and permissions.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub async fn run(self) -> Result<(), ServerError> {
        let running = self.start().await?;
        running.until(ensue::asked_to_stop()).await;
        running.stop_by(ensue::asked_to_stop()).await;
        Ok(())
    }
}

/// Listens, and where it does.
async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), ServerError> {
    let address = config.listen.get();
    let failed = |reason| ServerError::Listen { address, reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Reads the files that the configuration names.
async fn opened(config: Config) -> Result<(Config, Security), ConfigError> {
    blocking(move || {
        let security = Security::open(&config)?;
        Ok((config, security))
    })
    .await
}

/// Sees when the files change, until the server stops.
async fn follow_files(context: Context) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FILES_PERIOD) => {}
            () = context.drained() => return,
        }
        // What goes wrong is said in the log and in the status.
        let _ = reload(&context, Security::follow).await;
    }
}

/// Keeps the keys of identity providers current, until the server stops.
async fn follow_providers(context: Context) {
    let now = || context.engine().clock().now();
    tokio::select! {
        () = context.security().follow_providers(now) => {}
        () = context.drained() => {}
    }
}

/// Reads the files, and writes to the audit trail who may do something else now.
async fn reload(
    context: &Context,
    read: impl FnOnce(&Security, Timestamp) -> Result<Difference, ConfigError> + Send + 'static,
) -> Result<(), ConfigError> {
    let of_files = context.clone();
    let read = move || read(of_files.security(), of_files.engine().clock().now());
    let difference = blocking(read).await?;
    let Some(trail) = context.trail().filter(|_| !difference.is_nothing()) else {
        return Ok(());
    };
    let operation = Operation::new("server.reload", json!(difference));
    let noted = trail
        .note(context.engine(), &Caller::server(), operation)
        .await;
    if let Err(problem) = noted {
        let reason = problem.detail();
        tracing::error!(
            reason,
            "the audit trail does not have that permissions have changed"
        );
    }
    Ok(())
}

/// Does what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConfigError> + Send + 'static,
) -> Result<T, ConfigError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ConfigError::Malformed(error.to_string())))
}

/// A server that listens. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    context: Context,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
    webhooks: Arc<Webhooks>,
    drain_delay: Duration,
    drain_timeout: Duration,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads certificates, tokens and permissions again. What cannot be used as a whole changes nothing;
    /// the status shows why. Files that change are read again by themselves, within seconds.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong with them.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        reload(&self.context, |security, now| security.reload(now)).await
    }

    /// Waits for `stop`; SIGHUP meanwhile reloads.
    pub async fn until(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut hangups = Hangups::new();
        loop {
            tokio::select! {
                () = stop.as_mut() => return,
                () = hangups.next() => {
                    // It is said in the log and in the status.
                    let _ = self.reload().await;
                }
            }
        }
    }

    /// Says that it is not ready and lets members leave, and serves for
    /// [`Limits::drain_delay`](crate::Limits::drain_delay); then it takes no more connections, answers what
    /// is under way, and returns when that is done or
    /// [`Limits::drain_timeout`](crate::Limits::drain_timeout) is over.
    pub async fn stop(self) {
        self.stop_by(std::future::pending()).await;
    }

    /// The same; what is left of `drain_delay` when `hurry` completes is left out.
    pub async fn stop_by(self, hurry: impl Future<Output = ()>) {
        let mut hurry = pin!(hurry);
        // It is listened to before anything tells that the server is stopping.
        let is_hurried = poll_fn(|context| Poll::Ready(hurry.as_mut().poll(context).is_ready()));
        let is_hurried = is_hurried.await;
        self.phase.send_replace(Phase::Leaving);
        let serving = async {
            if !self.drain_delay.is_zero() && !is_hurried {
                tokio::select! {
                    () = tokio::time::sleep(self.drain_delay) => {}
                    () = hurry => {}
                }
            }
            self.phase.send_replace(Phase::Draining);
            self.task.await
        };
        // While requests are answered: both have the same time.
        let stopping = self.webhooks.stop(self.drain_timeout);
        let (ended, ()) = tokio::join!(serving, stopping);
        if let Err(error) = ended {
            tracing::error!(%error, "the server ended early");
        }
    }
}
