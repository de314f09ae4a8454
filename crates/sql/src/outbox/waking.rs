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

/// How soon a database that wakes nobody is asked again.
const POLL_MIN: Duration = Duration::from_millis(5);
/// How rarely it is asked when it had nothing for a while, unless the relay says otherwise.
pub(super) const POLL_MAX: Duration = Duration::from_secs(1);

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
    pub(super) fn new(wake: Arc<Notify>, poll_max: Duration) -> Self {
        Self {
            wake,
            poll: Backoff::new(POLL_MIN.min(poll_max), poll_max),
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
            DB::execute(&mut *pool.acquire().await?, update, []).await?;
            self.is_idle = true;
            // What was written before that has woken nobody: it is looked for once more.
            return Ok(());
        }
        self.rests = self.rests.saturating_add(1);
        let moment = match self.is_idle {
            true => self.poll.max,
            false => self.poll.wait(self.rests, fastrand::f64()),
        };
        tokio::select! {
            () = self.wake.notified() => self.rests = 0,
            () = self.listening.heard() => {}
            () = tokio::time::sleep(moment) => {}
        }
        Ok(())
    }
}
