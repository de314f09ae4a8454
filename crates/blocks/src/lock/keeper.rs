//! What a server has to do to keep locks.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::error::Result;
use super::token::FencingToken;

/// Keeps locks: one implementation for each kind of server. Programs hold [`Locks`](super::Locks), which renews,
/// waits and releases for them.
///
/// Every call may be repeated, and a call whose future is dropped may or may not have had its effect.
pub trait LockKeeper: fmt::Debug + Send + Sync + 'static {
    /// What its locks promise.
    fn guarantees(&self) -> LockGuarantees;

    /// Takes the lock if no one has it. Otherwise takes a place in its line if `waits` and the keeper has
    /// lines; who waits asks again at least three times within the lease, or loses its place.
    /// Who holds the lock already, with the same claim, holds it on.
    ///
    /// # Errors
    /// What the server reports. The lock may have been taken: [`Self::release`] it.
    fn ask<'a>(&'a self, claim: &'a Claim, waits: bool) -> BoxFuture<'a, Result<Asked>>;

    /// Completes when it is worth asking again, at the latest after some seconds. Cancel-safe.
    fn turn<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, ()>;

    /// Renews the lease; whether the claim still holds the lock, with this token.
    ///
    /// # Errors
    /// What the server reports; it may have been renewed.
    fn renew<'a>(&'a self, claim: &'a Claim, token: FencingToken) -> BoxFuture<'a, Result<bool>>;

    /// Gives the lock back, and the place in its line. Nothing happens if the claim has neither.
    ///
    /// # Errors
    /// What the server reports; the lease ends by itself.
    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<()>>;
}

/// What is asked of a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    name: String,
    owner: Uuid,
    lease: Duration,
}

impl Claim {
    /// A claim on the lock `name` of an owner that there was never before.
    pub(super) fn new(name: &str, lease: Duration) -> Self {
        Self {
            name: name.to_owned(),
            owner: Uuid::now_v7(),
            lease,
        }
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who claims it: no two acquisitions have the same one.
    pub fn owner(&self) -> Uuid {
        self.owner
    }

    /// How long the lock is held without being renewed.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The lease in milliseconds.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn lease_millis(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Waits for a time between these two: some servers tell no one that a lock is free.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) fn pause([least, most]: [Duration; 2]) -> BoxFuture<'static, ()> {
    Box::pin(tokio::time::sleep(
        least + (most - least).mul_f64(fastrand::f64()),
    ))
}

/// What came of asking for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is held.
    Held {
        /// Larger than those of all holders before.
        token: FencingToken,
        /// How long without renewing, from before it was asked: a server may have bounds of its own.
        lease: Duration,
    },
    /// Another claim holds it.
    Taken,
}

/// What the locks of a keeper promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockGuarantees {
    /// What its locks are good for.
    pub purpose: Purpose,
    /// Who is next.
    pub fairness: Fairness,
}

/// What locks are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They save work that would be done twice. The server may forget a lock, for instance in a failover, so
    /// that two hold it, and tokens may repeat.
    Efficiency,
    /// With a guard, no holder writes after a later one has. The server forgets nothing that it acknowledged.
    Correctness,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fairness {
    /// Who asks first when the lock is free.
    Any,
    /// Who has waited longest.
    InOrder,
}
