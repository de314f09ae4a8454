//! A server, before it listens and while it does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ensue::{Engine, Metrics};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::{InvalidAddress, ListenAddress};
use crate::config::{Config, ConfigError};
use crate::context::Context;
use crate::webhooks::{StartError, Webhooks};
use crate::{connections, http};

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
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A setting is out of its range.
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
        }
    }

    /// With these settings in place of the former ones.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Listens on this address, which is a loopback address; port 0 is one that is free.
    ///
    /// # Errors
    /// [`InvalidAddress`] when it is not one.
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

    /// Starts to listen. The engine stays the caller's, who closes it after the server has stopped.
    ///
    /// # Errors
    /// [`ServerError`] when a setting is out of its range, or the address is in use,
    /// or a webhook cannot be as it is configured.
    pub async fn start(self) -> Result<Running, ServerError> {
        self.config.check()?;
        let address = self.config.listen.get();
        let listened = TcpListener::bind(address).await;
        let listener = listened.map_err(|reason| ServerError::Listen { address, reason })?;
        let address = listener
            .local_addr()
            .map_err(|reason| ServerError::Listen { address, reason })?;
        let webhooks = Webhooks::start(&self.engine, &self.config.webhooks, &self.services);
        let webhooks = Arc::new(webhooks.await?);
        let (stop, draining) = watch::channel(false);
        let shared = (self.services, webhooks.clone());
        let context = Context::new(self.engine, address, &self.config, shared, draining);
        let router = http::router(context.clone());
        let task = tokio::spawn(connections::serve(context, listener, router));
        Ok(Running {
            address,
            stop,
            task,
            webhooks,
            drain_timeout: self.config.limits.drain_timeout,
        })
    }

    /// Serves until the process is asked to stop (Ctrl-C, SIGTERM), and answers what is under way.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub async fn run(self) -> Result<(), ServerError> {
        let running = self.start().await?;
        ensue::asked_to_stop().await;
        running.stop().await;
        Ok(())
    }
}

/// A server that listens. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    webhooks: Arc<Webhooks>,
    drain_timeout: Duration,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, answers what is under way, and returns when that is done or
    /// [`Limits::drain_timeout`](crate::Limits::drain_timeout) is over.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // While requests are answered: both have the same time.
        let stopping = self.webhooks.stop(self.drain_timeout);
        let (ended, ()) = tokio::join!(self.task, stopping);
        if let Err(error) = ended {
            tracing::error!(%error, "the server ended early");
        }
    }
}
