//! A lock that is held, and the task that renews it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::error::Result;
use super::keeper::{Claim, LockKeeper};
use super::token::FencingToken;

/// How much of a lease is left unused: clocks do not run alike, and what is written takes a moment.
const MARGIN: u32 = 10;
/// How soon a renewal is tried again that the server did not answer, as a part of the lease.
const RETRIES: u32 = 20;

/// A lock that is held: renewed in the background until it is released, dropped or lost.
///
/// That it [is held](Self::is_held) is what this process knows; while the process did not run, another may have
/// got the lock. So write through a guard, with the [token](Self::token).
#[derive(Debug)]
#[must_use = "a lock that is dropped is released"]
pub struct Lock {
    name: String,
    owner: Uuid,
    token: FencingToken,
    /// Until when it is held, without another renewal; `None` once it is lost.
    until: watch::Receiver<Option<Instant>>,
    release: Option<oneshot::Sender<oneshot::Sender<Result<()>>>>,
}

impl Lock {
    /// Begins to renew what was acquired.
    pub(super) fn hold(
        keeper: Arc<dyn LockKeeper>,
        claim: Claim,
        token: FencingToken,
        lease: Duration,
        until: Instant,
    ) -> Self {
        let lease = lease - lease / MARGIN;
        let (held, until) = watch::channel(Some(until - lease / MARGIN));
        let (release, released) = oneshot::channel();
        let (name, owner) = (claim.name().to_owned(), claim.owner());
        let holder = Holder {
            keeper,
            claim,
            token,
            lease,
            held,
        };
        tokio::spawn(holder.run(released));
        Self {
            name,
            owner,
            token,
            until,
            release: Some(release),
        }
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who holds it: no two acquisitions have the same one.
    pub fn owner(&self) -> Uuid {
        self.owner
    }

    /// Larger than those of all holders before.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Whether the lock is held, as far as is known here.
    pub fn is_held(&self) -> bool {
        self.until.borrow().is_some_and(|it| Instant::now() < it)
    }

    /// Completes when the lock is lost: its server says so, or could not be asked for as long as the lease.
    /// Cancel-safe.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let Some(end) = *until.borrow_and_update() else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(end) => {
                    if !self.is_held() {
                        return;
                    }
                }
                // What renews it has ended, most likely with the runtime.
                changed = until.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Releases the lock, and waits until the server has it. Dropping a lock releases it, too, without
    /// waiting.
    ///
    /// # Errors
    /// What the server reports. The lease then ends by itself.
    pub async fn release(mut self) -> Result<()> {
        let (reply, released) = oneshot::channel();
        let Some(release) = self.release.take() else {
            return Ok(());
        };
        // A lost one is not there to be released.
        if release.send(reply).is_err() {
            return Ok(());
        }
        released.await.unwrap_or(Ok(()))
    }
}

/// Renews a lock.
struct Holder {
    keeper: Arc<dyn LockKeeper>,
    claim: Claim,
    token: FencingToken,
    lease: Duration,
    held: watch::Sender<Option<Instant>>,
}

impl Holder {
    async fn run(self, mut released: oneshot::Receiver<oneshot::Sender<Result<()>>>) {
        let mut pause = self.lease / 3;
        let reply = loop {
            let renewal = tokio::select! {
                released = &mut released => break released.ok(),
                () = tokio::time::sleep(pause) => self.renew().await,
            };
            match renewal {
                Renewal::Renewed => pause = self.lease / 3,
                Renewal::Unanswered => pause = self.lease / RETRIES,
                Renewal::Lost => break None,
            }
        };
        let _ = self.held.send(None);
        let ended = self.keeper.release(&self.claim).await;
        if let Err(error) = &ended {
            let name = self.claim.name();
            tracing::debug!(lock = name, %error, "a lock ends with its lease");
        }
        if let Some(reply) = reply {
            // Who released it may not wait any more.
            let _ = reply.send(ended);
        }
    }

    async fn renew(&self) -> Renewal {
        let name = self.claim.name();
        let Some(until) = *self.held.borrow() else {
            return Renewal::Lost;
        };
        let asked = Instant::now();
        let renewing = self.keeper.renew(&self.claim, self.token);
        let renewed = match tokio::time::timeout_at(until, renewing).await {
            Ok(renewed) => renewed,
            Err(_) => {
                tracing::warn!(
                    lock = name,
                    "a lock was lost: its server did not answer in time"
                );
                return Renewal::Lost;
            }
        };
        match renewed {
            // What was renewed after it was given up here has been told to others as lost.
            Ok(true) if Instant::now() < until => {
                self.held.send_replace(Some(asked + self.lease));
                Renewal::Renewed
            }
            Ok(_) => {
                tracing::warn!(lock = name, "a lock was lost: it was not renewed in time");
                Renewal::Lost
            }
            Err(error) if Instant::now() < until => {
                tracing::debug!(lock = name, %error, "a lock was not renewed, and is tried again");
                Renewal::Unanswered
            }
            Err(error) => {
                tracing::warn!(lock = name, %error, "a lock was lost: it could not be renewed");
                Renewal::Lost
            }
        }
    }
}

enum Renewal {
    Renewed,
    Unanswered,
    Lost,
}
