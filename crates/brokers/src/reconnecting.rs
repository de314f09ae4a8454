//! A connection that several calls use at once, and that is opened again when it broke.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::error::Result;

/// Holds the connection; a call that uses it when it is given up keeps it until then.
pub(crate) struct Standing<L>(Mutex<Option<Arc<L>>>);

impl<L> Default for Standing<L> {
    /// Without a connection yet.
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<L> Standing<L> {
    pub(crate) fn new(link: L) -> Self {
        Self(Mutex::new(Some(Arc::new(link))))
    }

    /// The connection, or what `open` makes when there is no connection that `is_alive`.
    ///
    /// # Errors
    /// What `open` reports; the next call tries again.
    pub(crate) async fn get(
        &self,
        is_alive: impl Fn(&L) -> bool,
        open: impl Future<Output = Result<L>>,
    ) -> Result<Arc<L>> {
        let mut held = self.0.lock().await;
        if let Some(link) = held.as_ref().filter(|link| is_alive(link)) {
            return Ok(link.clone());
        }
        *held = None;
        Ok(held.insert(Arc::new(open.await?)).clone())
    }

    /// The answer to `question` on the connection, which is given up when that fails.
    ///
    /// # Errors
    /// What `open` and `question` report.
    pub(crate) async fn ask<T>(
        &self,
        is_alive: impl Fn(&L) -> bool,
        open: impl Future<Output = Result<L>>,
        question: impl AsyncFnOnce(&L) -> Result<T>,
    ) -> Result<T> {
        let link = self.get(is_alive, open).await?;
        let answer = question(&link).await;
        if answer.is_err() {
            self.give_up(&link).await;
        }
        answer
    }

    /// Gives the connection up, unless another call has opened a new one meanwhile.
    pub(crate) async fn give_up(&self, link: &Arc<L>) {
        let mut held = self.0.lock().await;
        if held.as_ref().is_some_and(|it| Arc::ptr_eq(it, link)) {
            *held = None;
        }
    }

    /// Gives up whatever connection there is.
    pub(crate) async fn close(&self) {
        *self.0.lock().await = None;
    }
}
