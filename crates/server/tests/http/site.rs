//! An engine in a directory of its own, and a server of it.

use std::time::Duration;

use ensue::engine::{Query, Recorded};
use ensue::{Engine, Metrics};
use ensue_server::{Config, Running, Server};
use tempfile::TempDir;

use crate::client::Client;

/// Longer than anything takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) running: Running,
    pub(crate) directory: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// With these settings, on a free port.
    pub(crate) async fn with(config: Config) -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("embedded:{}", directory.path().display());
        Self::of(&url, directory, config).await
    }

    /// Of the engine with this URL, whose directory is the caller's.
    pub(crate) async fn at(url: &str) -> Self {
        Self::of(url, TempDir::new().unwrap(), Config::default()).await
    }

    async fn of(url: &str, directory: TempDir, mut config: Config) -> Self {
        config.listen = "127.0.0.1:0".parse().unwrap();
        let engine = Engine::open(url).await.unwrap();
        let server = Server::new(engine.clone()).config(config);
        let running = server.metrics(Metrics::default()).start().await.unwrap();
        Self {
            engine,
            running,
            directory,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.running.address()).await
    }

    /// Everything that is in the log.
    pub(crate) async fn events(&self) -> Vec<Recorded> {
        self.engine
            .shared()
            .read(Query::default())
            .await
            .unwrap()
            .events
    }

    /// Ends while clients are in the middle of something: the server does not wait for them.
    pub(crate) async fn end_at_once(self) {
        drop(self.running);
        self.engine.close().await.unwrap();
    }

    pub(crate) async fn end(self) {
        self.running.stop().await;
        self.engine.close().await.unwrap();
    }
}

/// An event in the JSON format, with more members.
pub(crate) fn event(id: &str, more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"order.created"{more}}}"#)
}
