//! Calls, tried again where that is safe.

use std::time::Duration;

use ensue_core::error::{EngineError, Error, Result};
use ensue_core::time::Backoff;
use ensue_proto::{detail_of_status, error_of_status};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status};

use crate::link::{Client, Link, Run};
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
    /// The same, but no longer than while the server is the one that knows the call by its [`Key`]: after a
    /// restart it would happen twice.
    Once,
    /// Until there is an answer, however long that takes.
    Forever,
}

/// Names a call, so that it is done once and answered alike however often it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Key(AsciiMetadataValue);

impl Key {
    pub(crate) fn new() -> Self {
        let now = uuid::Timestamp::now(uuid::NoContext);
        let key = uuid::Uuid::new_v7(now).simple().to_string();
        // Hexadecimal digits.
        Self(AsciiMetadataValue::try_from(key).unwrap_or(AsciiMetadataValue::from_static("0")))
    }

    /// The call with this name.
    pub(crate) fn of<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("idempotency-key", self.0.clone());
        request
    }
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
        // Which run of the server it may have come to first.
        let mut sent_to: Option<Run> = None;
        let mut is_renewed = false;
        loop {
            self.check_open()?;
            let token = self.link.token();
            let tried = tokio::select! {
                tried = self.try_once(again, sent_to.as_ref(), &attempt) => tried,
                _ = life.wait_for(|life| *life != Life::Open) => continue,
            };
            let failed = match tried {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            // Once: the server has done nothing, and another token is another caller to it.
            if let Some(status) = failed.status.filter(|_| !is_renewed)
                && self.link.has_other_token(&status, token.as_ref()).await
            {
                is_renewed = true;
                continue;
            }
            let error = *failed.error;
            sent_to = sent_to.or(failed.came_to);
            let is_away = matches!(error, Error::Engine(EngineError::Unavailable { .. }));
            let has_time = began.elapsed() < self.link.options().connect_timeout;
            let may_ask = has_time || again == Again::Forever;
            if failed.is_final || !is_away || !may_ask {
                return Err(error);
            }
            attempts += 1;
            tracing::debug!(%error, attempts, "asking again");
            pause(attempts).await;
        }
    }

    /// Asks; `sent_to` is the run that the call may have come to before.
    async fn try_once<T, F>(
        &self,
        again: Again,
        sent_to: Option<&Run>,
        attempt: &(impl Fn(Client) -> F + Send + Sync),
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let connected = self.link.client().await;
        let (client, run) = connected.map_err(|error| Failed {
            error: Box::new(error),
            came_to: None,
            status: None,
            is_final: false,
        })?;
        if again == Again::Once && sent_to.is_some_and(|before| !before.is(&run)) {
            return Err(Failed {
                error: Box::new(self.doubt()),
                came_to: None,
                status: None,
                is_final: true,
            });
        }
        attempt(client).await.map_err(|status| Failed {
            error: Box::new(self.error(&status)),
            came_to: Some(run).filter(|_| !is_unsent(&status)),
            is_final: again == Again::Once && is_in_doubt(&status),
            status: Some(Box::new(status)),
        })
    }

    /// Nobody knows what came of a call.
    fn doubt(&self) -> Error {
        self.link.unavailable(
            "it was started again before it said what came of this call, which may or may not have \
             happened: look, and call again if it has not",
        )
    }

    fn error(&self, status: &Status) -> Error {
        let link = &self.link;
        link.away_if_closed(error_of_status(status, &link.options().shown))
    }
}

/// Why an attempt failed.
struct Failed {
    error: Box<Error>,
    /// Where it may have come to.
    came_to: Option<Run>,
    /// What the server, or the connection, said.
    status: Option<Box<Status>>,
    /// There is no use in another.
    is_final: bool,
}

/// Whether a status says that nothing was sent.
fn is_unsent(status: &Status) -> bool {
    let source = std::error::Error::source(status);
    let cause = source.and_then(|source| source.downcast_ref::<hyper::Error>());
    cause.is_some_and(hyper::Error::is_canceled)
}

/// Whether the server says that the call may or may not have happened: under its key it says so again.
fn is_in_doubt(status: &Status) -> bool {
    detail_of_status(status).is_some_and(|detail| detail.in_doubt)
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
