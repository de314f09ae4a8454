//! SIGHUP: what an operator sends to a server whose files have changed.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The hang-ups of the process. As long as this exists, they do not end it.
pub(crate) struct Hangups {
    #[cfg(unix)]
    signal: Option<Signal>,
}

impl Hangups {
    #[cfg(unix)]
    pub(crate) fn new() -> Self {
        let signal = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be listened to"));
        Self {
            signal: signal.ok(),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// Completes with the next one, which may never come.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }

    /// Completes with the next one, which may never come.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}
