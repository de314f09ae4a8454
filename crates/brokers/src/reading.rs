//! Reading on from call to call, with a connection of its own: what Redis and PostgreSQL share.

use crate::error::Result;
use crate::last_seen::Cursor;
use crate::shared_log::Message;

/// How far a log was read, and the connection for it.
pub(crate) struct Reading<L> {
    pub(crate) cursor: Cursor,
    /// There may be messages that need not be waited for.
    pub(crate) is_behind: bool,
    /// Taken out while a call uses it: a future that is dropped half-way takes the connection, on which
    /// answers are due, with it.
    link: Option<L>,
}

impl<L> Default for Reading<L> {
    fn default() -> Self {
        Self {
            cursor: Cursor::default(),
            is_behind: false,
            link: None,
        }
    }
}

impl<L> Reading<L> {
    /// Begins a call at `from`: what was fetched before is its answer, if there is some.
    pub(crate) fn begin(&mut self, from: u64, bytes_max: usize) -> Option<Vec<Message>> {
        // A reader that starts anywhere is behind, until nothing is found.
        self.is_behind |= self.cursor.seek(from);
        self.cursor.has_some().then(|| self.cursor.take(bytes_max))
    }

    /// The connection, or what `open` makes when there is no connection that `is_alive`.
    ///
    /// # Errors
    /// What `open` reports.
    pub(crate) async fn link(
        &mut self,
        is_alive: impl Fn(&L) -> bool,
        open: impl AsyncFnOnce(&Cursor) -> Result<L>,
    ) -> Result<L> {
        if let Some(link) = self.link.take().filter(is_alive) {
            return Ok(link);
        }
        self.is_behind = true;
        open(&self.cursor).await
    }

    /// Ends a call: its answer is what was fetched, as much as fits.
    pub(crate) fn end(&mut self, link: L, bytes_max: usize) -> Vec<Message> {
        self.link = Some(link);
        self.cursor.take(bytes_max)
    }

    /// Gives the connection up.
    pub(crate) fn close(&mut self) {
        self.link = None;
    }
}
