//! Calls, tried again where that is safe.

use std::time::Duration;

use ensue_core::error::{EngineError, Error, Result};
use ensue_core::time::Backoff;
use ensue_proto::error_of_status;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::link::{Client, Link};
use crate::options::Options;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// Whether the engine is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    Closed,
    /// As if its process had been killed.
    Abandoned,
}

/// How often something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Until there is an answer, for as long as the URL says: asking twice is as good as once.
    Safe,
    /// Only while nothing was sent: what was sent may have happened, and would happen twice.
    Unsent,
    /// Until there is an answer, however long that takes.
    Forever,
}

/// What calls share.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) link: Link,
    life: watch::Sender<Life>,
}

impl Calls {
    pub(crate) fn new(options: Options) -> Result<Self> {
        Ok(Self {
            link: Link::new(options)?,
            life: watch::Sender::new(Life::Open),
        })
    }

    pub(crate) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Ends the engine; whether it was open until now.
    pub(crate) fn end(&self, life: Life) -> bool {
        self.life.send_if_modified(|now| {
            let was_open = *now == Life::Open;
            if was_open {
                *now = life;
            }
            was_open
        })
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match *self.life.borrow() {
            Life::Open => Ok(()),
            Life::Closed | Life::Abandoned => Err(Error::Engine(EngineError::Closed)),
        }
    }

    /// Asks, and asks again.
    ///
    /// # Errors
    /// What the server answers, [`EngineError::Unavailable`] when it does not, [`EngineError::Closed`].
    pub(crate) async fn call<T, F>(
        &self,
        again: Again,
        attempt: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let began = Instant::now();
        let mut attempts = 0;
        let mut life = self.life();
        loop {
            self.check_open()?;
            let tried = async {
                let client = self.link.client().await;
                let client = client.map_err(|error| (error, true))?;
                attempt(client).await.map_err(|status| self.judge(&status))
            };
            let tried = tokio::select! {
                tried = tried => tried,
                _ = life.wait_for(|life| *life != Life::Open) => continue,
            };
            let (error, unsent) = match tried {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let is_away = matches!(error, Error::Engine(EngineError::Unavailable { .. }));
            let may_ask = match again {
                Again::Safe => began.elapsed() < self.link.options().connect_timeout,
                Again::Unsent => unsent && began.elapsed() < self.link.options().connect_timeout,
                Again::Forever => true,
            };
            if !is_away || !may_ask {
                return Err(error);
            }
            attempts += 1;
            tracing::debug!(%error, attempts, "asking again");
            pause(attempts).await;
        }
    }

    /// The error of a status, and whether nothing was sent.
    fn judge(&self, status: &Status) -> (Error, bool) {
        let error = self
            .link
            .away_if_closed(error_of_status(status, &self.link.options().shown));
        let source = std::error::Error::source(status);
        let cause = source.and_then(|source| source.downcast_ref::<hyper::Error>());
        (error, cause.is_some_and(hyper::Error::is_canceled))
    }
}

/// Whether a status says that the connection is gone, not what came of the call.
pub(crate) fn is_lost(status: &Status) -> bool {
    status.details().is_empty()
        && matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        )
}

/// Waits before something is tried again.
pub(crate) async fn pause(attempts: u32) {
    tokio::time::sleep(BACKOFF.wait(attempts, 0.5 + fastrand::f64() / 2.0)).await;
}
