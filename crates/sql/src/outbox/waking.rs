//! What a relay waits for when nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use ensue::Backoff;
use sqlx::Pool;
use tokio::sync::Notify;

use super::listening::Listening;
use super::schema::RELAY;
use crate::database::Database;
use crate::error::Result;

/// How soon a database that has nothing is asked again, and how rarely when it had nothing for a while, unless
/// the relay says otherwise.
pub(super) const POLL: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));

/// Waits for rows: for a word from this process or the database, or for a moment, longer each time.
#[derive(Debug)]
pub(super) struct Waking {
    wake: Arc<Notify>,
    poll: Backoff,
    rests: u32,
    listening: Listening,
    /// Whether the database knows that nobody works.
    is_idle: bool,
}

impl Waking {
    pub(super) fn new(wake: Arc<Notify>, poll: Backoff) -> Self {
        Self {
            wake,
            poll,
            rests: 0,
            listening: Listening::default(),
            is_idle: false,
        }
    }

    /// There was something.
    pub(super) fn has_worked(&mut self) {
        self.rests = 0;
        self.is_idle = false;
    }

    /// Waits until there may be something. Cancel-safe.
    pub(super) async fn rest<DB: Database>(&mut self, pool: &Pool<DB>) -> Result<()> {
        self.listening.begin(pool).await;
        self.is_idle &= self.listening.is_on();
        if self.listening.is_on() && !self.is_idle {
            let update = format!("UPDATE {RELAY} SET is_idle = 1 WHERE seat = 1 AND is_idle = 0");
            let mut transaction = pool.begin_with(DB::BEGIN).await?;
            DB::execute(&mut transaction, update, []).await?;
            transaction.commit().await?;
            self.is_idle = true;
            // What was written before that has woken nobody: it is looked for once more.
            return Ok(());
        }
        self.rests = self.rests.saturating_add(1);
        // Also where the database wakes: a transaction that wrote while the relay was busy wakes nobody when
        // it commits.
        let moment = self.poll.wait(self.rests, fastrand::f64());
        tokio::select! {
            () = self.wake.notified() => self.rests = 0,
            () = self.listening.heard() => {}
            () = tokio::time::sleep(moment) => {}
        }
        Ok(())
    }
}
