//! Locks in etcd: keys with a lease, in a line.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::{LockError, Result};
use super::held::Lock;
use super::keeper::{Asked, Claim, Fairness, LockGuarantees, LockKeeper, Purpose};
use super::token::FencingToken;
use crate::etcd::{Etcd, KeyValue, encoded, end_of_prefix};

/// Locks in etcd, below `ensue/locks/`. A majority of its members has what was acknowledged. Leases are whole
/// seconds there, at least 2.
///
/// Fair: who has waited longest is next, and no one else is woken. The token is the revision that made the
/// holder's key.
#[derive(Clone)]
pub struct EtcdLocks {
    etcd: Arc<Etcd>,
}

impl EtcdLocks {
    /// On the servers of the URL, `etcd://host:port,host:port?tls=true`. They are connected to when a lock is
    /// asked for.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        let etcd = Arc::new(Etcd::new(url)?);
        Ok(Self { etcd })
    }

    /// The guard of data in the same etcd: sets `key` to `value`, in one transaction with the check that the
    /// lock is held.
    ///
    /// # Errors
    /// [`LockError::Fenced`] when it is not held any more, and what the server reports.
    pub async fn put(&self, lock: &Lock, key: &str, value: &[u8]) -> Result<()> {
        let is_held = json!({
            "key": encoded(key_of(lock.name(), lock.owner())),
            "target": "CREATE",
            "create_revision": lock.token().get().to_string(),
        });
        let put = json!({ "request_put": { "key": encoded(key), "value": encoded(value) } });
        let body = json!({ "compare": [is_held], "success": [put] });
        match self.etcd.transaction(&body).await? {
            (true, _) => Ok(()),
            (false, _) => Err(LockError::Fenced {
                name: lock.name().to_owned(),
                token: lock.token().get(),
            }),
        }
    }

    async fn asked(&self, claim: &Claim, waits: bool) -> Result<Asked> {
        let lease = lease_of(claim.owner());
        if !waits {
            // Who only tries leaves the line alone.
            let (first, _) = self.etcd.range(&first_of(claim.name())).await?;
            let ours = key_of(claim.name(), claim.owner());
            if first.iter().any(|first| first.key != ours.as_bytes()) {
                return Ok(Asked::Taken);
            }
        }
        self.etcd.lease(lease, seconds(claim.lease())).await?;
        let key = key_of(claim.name(), claim.owner());
        let first = json!({ "request_range": first_of(claim.name()) });
        let put = json!({ "request_put": { "key": encoded(&key), "lease": lease.to_string() } });
        let is_new = match waits {
            true => json!({ "key": encoded(&key), "target": "CREATE", "create_revision": "0" }),
            false => {
                let line = line(claim.name());
                let end = encoded(end_of_prefix(&line));
                json!({ "key": encoded(&line), "range_end": end, "target": "CREATE", "create_revision": "0" })
            }
        };
        let body = json!({ "compare": [is_new], "success": [put, first], "failure": [first] });
        let (_, ranges) = self.etcd.transaction(&body).await?;
        let first = ranges.into_iter().flatten().next();
        Ok(match first.filter(|first| first.key == key.as_bytes()) {
            None => Asked::Taken,
            Some(ours) => Asked::Held {
                token: token_of(&ours),
                lease: claim.lease(),
            },
        })
    }

    /// Waits until who stands before us is gone.
    async fn waited(&self, claim: &Claim) -> Result<()> {
        let key = key_of(claim.name(), claim.owner());
        let (Some(ours), _) = self.etcd.get(&key).await? else {
            return Ok(());
        };
        let line = line(claim.name());
        let before = json!({
            "key": encoded(&line),
            "range_end": encoded(end_of_prefix(&line)),
            "sort_target": "CREATE",
            "sort_order": "DESCEND",
            "max_create_revision": (ours.create_revision - 1).to_string(),
            "limit": "1",
        });
        let (before, revision) = self.etcd.range(&before).await?;
        let Some(before) = before.first() else {
            return Ok(());
        };
        let key = String::from_utf8_lossy(&before.key);
        self.etcd.changed(&key, revision + 1).await?;
        Ok(())
    }

    async fn renewed(&self, claim: &Claim, token: FencingToken) -> Result<bool> {
        if !self.etcd.keep_alive(lease_of(claim.owner())).await? {
            return Ok(false);
        }
        // An operator may have removed it.
        let (ours, _) = self.etcd.get(&key_of(claim.name(), claim.owner())).await?;
        Ok(ours.is_some_and(|it| token_of(&it) == token))
    }
}

/// No name is a part of another's line.
fn line(name: &str) -> String {
    let name = name.replace('%', "%25").replace('/', "%2F");
    format!("ensue/locks/{name}/")
}

fn key_of(name: &str, owner: Uuid) -> String {
    format!("{}{owner}", line(name))
}

/// Who asked first of those in the line.
fn first_of(name: &str) -> Value {
    let line = line(name);
    json!({
        "key": encoded(&line),
        "range_end": encoded(end_of_prefix(&line)),
        "sort_target": "CREATE",
        "sort_order": "ASCEND",
        "limit": "1",
    })
}

/// A lease of its own for each owner: asking twice begins one.
fn lease_of(owner: Uuid) -> i64 {
    let (_, low) = owner.as_u64_pair();
    i64::try_from(low >> 2).unwrap_or(i64::MAX).max(1)
}

fn seconds(lease: Duration) -> u64 {
    lease.as_secs() + u64::from(lease.subsec_nanos() > 0)
}

fn token_of(held: &KeyValue) -> FencingToken {
    FencingToken::new(u64::try_from(held.create_revision).unwrap_or_default())
}

impl LockKeeper for EtcdLocks {
    fn guarantees(&self) -> LockGuarantees {
        LockGuarantees {
            purpose: Purpose::Correctness,
            fairness: Fairness::InOrder,
        }
    }

    fn ask<'a>(&'a self, claim: &'a Claim, waits: bool) -> BoxFuture<'a, Result<Asked>> {
        self.asked(claim, waits).boxed()
    }

    fn turn<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, ()> {
        async {
            if let Err(error) = self.waited(claim).await {
                tracing::debug!(lock = claim.name(), %error, "a turn cannot be waited for");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        .boxed()
    }

    fn renew<'a>(&'a self, claim: &'a Claim, token: FencingToken) -> BoxFuture<'a, Result<bool>> {
        self.renewed(claim, token).boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<()>> {
        async { Ok(self.etcd.revoke(lease_of(claim.owner())).await?) }.boxed()
    }
}

impl fmt::Debug for EtcdLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLocks")
            .field("server", &self.etcd.shown())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_in_the_line_of_another() {
        assert!(!line("a/b").starts_with(&line("a")));
        assert_ne!(line("a/b"), line("a%2Fb"));
    }

    #[test]
    fn a_lease_is_whole_seconds_and_not_shorter() {
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }
}
