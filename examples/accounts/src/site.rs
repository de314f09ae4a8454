//! A service that runs: the services behind it, its views, and its door.

use std::net::SocketAddr;
use std::sync::Arc;

use ensue::Running;
use ensue::prelude::*;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::accounts::Accounts;
use crate::error::Error;
use crate::home::Home;
use crate::http::{Site, router};
use crate::https::{self, Certificate};
use crate::mail::Post;
use crate::secrets::{Hashing, Keys};
use crate::security::Blocked;
use crate::services;
use crate::view::{View, ViewError};

/// A service that listens, until it is stopped.
pub struct Open {
    /// Where it listens.
    pub address: SocketAddr,
    /// The accounts behind it.
    pub accounts: Accounts,
    /// Its view.
    pub profiles: Arc<View>,
    running: Running,
    failing: BoxFuture<'static, ViewError>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// How a service is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 is one that is free.
    pub listen: SocketAddr,
    /// Whether clients are behind a proxy on this machine, which says who they are.
    pub is_proxied: bool,
    /// Where the view is; none is the memory of the process.
    pub database: Option<String>,
    /// What it shows them.
    pub certificate: Certificate,
}

impl Open {
    /// Opens a service of this log.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(engine: &Engine, home: &Home, settings: &Settings) -> Result<Self, Error> {
        let config = settings.certificate.server()?;
        let keys = Keys::open(&home.key())?;
        let post = Post::open(&home.mail()).map_err(|source| Error::Post {
            path: home.mail(),
            source,
        })?;
        let accounts = Accounts::new(engine.clone(), keys, Hashing::new()?, post);
        let address = settings.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let app = services::add(App::new(engine.clone()), &accounts);
        let running = app.start().await?;
        let (profiles, failing) = View::start(engine, settings.database.as_deref()).await?;
        let profiles = Arc::new(profiles);
        let blocked = Blocked::follow(engine)?;
        let site = Site::new(
            accounts.clone(),
            profiles.clone(),
            blocked,
            settings.is_proxied,
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = https::serve(listener, config, router(site), async {
            // Dropped without a word, it ends, too.
            let _ = stopped.await;
        });
        Ok(Self {
            address,
            accounts,
            profiles,
            running,
            failing,
            stop,
            serving: tokio::spawn(serving),
        })
    }

    /// Completes when a service or the view fails for good.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            error = self.running.failed() => error.into(),
            error = &mut self.failing => error.into(),
        }
    }

    /// Answers what is under way, and stops.
    ///
    /// # Errors
    /// What the services report.
    pub async fn stop(self) -> ensue::Result<()> {
        let _ = self.stop.send(());
        // It ends by itself, in a bounded time.
        let _ = self.serving.await;
        self.running.stop().await
    }
}
