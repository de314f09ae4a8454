//! Being asked to stop: Ctrl-C, SIGTERM.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The process's requests to stop, none of which is missed once this exists.
pub(super) struct Signals {
    #[cfg(unix)]
    signals: Vec<Signal>,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let listen = |kind| {
            signal(kind)
                .inspect_err(|error| tracing::warn!(%error, "a signal cannot be listened to"))
                .ok()
        };
        Self {
            signals: kinds.into_iter().filter_map(listen).collect(),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> Self {
        Self {}
    }

    /// Completes with the next request. Without signals only a failure or the process's end stops
    /// the app. Cancel-safe.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let mut polled = self.signals.iter_mut().map(|it| it.poll_recv(context));
            match polled.any(|it| it == std::task::Poll::Ready(Some(()))) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    }

    /// Completes with the next request. Without signals only a failure or the process's end stops
    /// the app. Cancel-safe.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Completes when the process is told to end: by Ctrl-C, or by a supervisor's SIGTERM: what
/// [`App::run`](crate::App::run) waits for, for those who wait for something else besides. It listens from
/// when it is called, polled or not.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn asked_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let mut signals = Signals::new();
    async move { signals.next().await }
}
