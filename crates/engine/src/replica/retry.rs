//! Waiting for a server that is away.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::error::{EngineError, Error, Result};
use crate::shared_log::Server;
use crate::time::Backoff;

/// The waits before a server that is away is tried again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Longer and longer waits, with chance in them so that processes do not come back at once.
#[derive(Debug, Default)]
pub(super) struct Retry {
    tries: u32,
}

impl Retry {
    pub(super) async fn wait(&mut self) {
        self.tries += 1;
        tokio::time::sleep(BACKOFF.wait(self.tries, fastrand::f64())).await;
    }
}

/// Asks the server, and again for a while when it is away.
pub(super) async fn patiently<'a, T>(
    server: &Server,
    ask: impl Fn() -> BoxFuture<'a, Result<T>>,
) -> Result<T> {
    let begin = Instant::now();
    let mut retry = Retry::default();
    loop {
        match ask().await {
            Err(Error::Engine(EngineError::Unavailable { server: at, reason }))
                if begin.elapsed() < server.connect_timeout =>
            {
                tracing::warn!(server = at, reason, "the server is unavailable, retrying");
                retry.wait().await;
            }
            Err(Error::Engine(EngineError::Unavailable { server: at, reason })) => {
                let tried = server.connect_timeout;
                return Err(Error::Engine(EngineError::Unavailable {
                    server: at,
                    reason: format!("{reason}; it was tried for {tried:?} (`connect_timeout`)"),
                }));
            }
            outcome => return outcome,
        }
    }
}
