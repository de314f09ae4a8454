//! The members that clients have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::session::Session;

/// How long a member outlives its stream that does not say, and how long at the least and at the most.
const LEASE_DEFAULT: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_millis(100);
const LEASE_MAX: Duration = Duration::from_secs(600);

/// The members that clients have, by a secret of each client.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Mutex<HashMap<String, Arc<Session>>>,
}

/// How long a member outlives a stream that was cut, at most `max`.
pub(super) fn lease(asked_ms: u64, max: Duration) -> Duration {
    let asked = match asked_ms {
        0 => LEASE_DEFAULT,
        asked => Duration::from_millis(asked),
    };
    asked.max(LEASE_MIN).min(LEASE_MAX).min(max)
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a session. Gives the secret that resumes it.
    pub(super) fn add(&self, session: Arc<Session>) -> String {
        // Each has 74 bits from a generator for secrets.
        let secret = format!("{}{}", Uuid::now_v7().simple(), Uuid::now_v7().simple());
        self.lock().insert(secret.clone(), session);
        secret
    }

    pub(super) fn find(&self, secret: &str) -> Option<Arc<Session>> {
        self.lock().get(secret).cloned()
    }

    /// The member has ended: what it holds goes to others.
    pub(super) fn remove(&self, secret: &str) {
        // Dropped after the lock was let go.
        let _session = self.lock().remove(secret);
    }

    /// The stream of a member was cut: it has its lease to come back.
    pub(super) fn cut(self: &Arc<Self>, secret: String, session: &Arc<Session>, stream: u64) {
        if !session.detach(stream) {
            return;
        }
        let (sessions, session) = (Arc::downgrade(self), Arc::downgrade(session));
        tokio::spawn(async move {
            let Some(lease) = session.upgrade().map(|session| session.lease()) else {
                return;
            };
            tokio::time::sleep(lease).await;
            let (Some(sessions), Some(session)) = (sessions.upgrade(), session.upgrade()) else {
                return;
            };
            if session.is_lost_since(stream) {
                tracing::info!(group = session.group(), "a member did not come back");
                // No other stream finds it from here on.
                sessions.remove(&secret);
                session.abandon().await;
            }
        });
    }
}
