//! Locks in ZooKeeper: ephemeral nodes in a line.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ensue_brokers::Dialer;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::error::{LockError, Result};
use super::held::Lock;
use super::keeper::{Asked, Claim, Fairness, LockGuarantees, LockKeeper, Purpose};
use super::token::FencingToken;
use crate::zookeeper::{Failure, Mode, Operation, Session};

const SCHEME: &str = "zookeeper";
const PORT: u16 = 2181;
const ROOTS: [&str; 2] = ["/ensue", "/ensue/locks"];

/// Locks in ZooKeeper, below `/ensue/locks`. Each lock that is held or waited for has a session, and so a
/// connection, of its own; its lease is the session's timeout, which the server keeps within bounds (2 to 20
/// ticks). A majority of servers has what was acknowledged.
///
/// Fair: who has waited longest is next, and no one else is woken. The token is the number of the transaction
/// that made the holder's node.
pub struct ZooKeeperLocks {
    dialer: Arc<Dialer>,
    /// Of each claim that is held or waits.
    places: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Place>>>>,
}

/// A place in the line.
#[derive(Default)]
struct Place {
    session: Option<Session>,
    /// The path of our node, and its token.
    node: Option<(String, FencingToken)>,
}

impl ZooKeeperLocks {
    /// On the servers of the URL, `zookeeper://host:port,host:port?tls=true`. They are connected to when a lock
    /// is asked for.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        let dialer = Dialer::of(url, SCHEME, PORT)?;
        let server = dialer.server();
        if server.login.is_some() || !server.path.is_empty() {
            return Err(LockError::Invalid {
                what: "the URL of ZooKeeper",
                value: server.shown.clone(),
                expected: "without a user and a path: neither is supported".to_owned(),
            });
        }
        Ok(Self {
            dialer: Arc::new(dialer),
            places: Mutex::default(),
        })
    }

    /// The guard of data in the same ZooKeeper: sets the node `path` to `data`, and makes it if there is none,
    /// in one transaction with the check that the lock is held.
    ///
    /// # Errors
    /// [`LockError::Fenced`] when it is not held any more, [`LockError::Invalid`] when there is nothing that `path`
    /// could be made below, and what the server reports.
    pub async fn set(&self, lock: &Lock, path: &str, data: &[u8]) -> Result<()> {
        let fenced = || LockError::Fenced {
            name: lock.name().to_owned(),
            token: lock.token().get(),
        };
        let place = self.find(lock.owner()).ok_or_else(fenced)?;
        let mut place = place.lock().await;
        let Place {
            session: Some(session),
            node: Some((node, token)),
        } = &mut *place
        else {
            return Err(fenced());
        };
        if *token != lock.token() {
            return Err(fenced());
        }
        let check = Operation::Check(node);
        let mut set = session.all(&[check, Operation::Set(path, data)]).await;
        if matches!(set, Err(Failure::NoNode)) {
            // Either of the two is not there.
            set = session.all(&[check, Operation::Create(path, data)]).await;
        }
        match set {
            Ok(()) => Ok(()),
            Err(Failure::NoNode) => match session.czxid(node).await {
                // Ours is there: then it is what `path` is to be made below that is not.
                Ok(_) => Err(LockError::Invalid {
                    what: "the path of a node",
                    value: path.to_owned(),
                    expected: "below a node that is there: make its parents first".to_owned(),
                }),
                Err(Failure::NoNode | Failure::Expired) => Err(fenced()),
                Err(error) => Err(self.error(error)),
            },
            Err(Failure::Expired) => Err(fenced()),
            Err(error) => Err(self.error(error)),
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<tokio::sync::Mutex<Place>>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, owner: Uuid) -> Option<Arc<tokio::sync::Mutex<Place>>> {
        self.places().get(&owner).cloned()
    }

    async fn asked(&self, claim: &Claim, waits: bool, place: &mut Place) -> Result<Asked, Failure> {
        if place.session.is_none() {
            let session = Session::begin(self.dialer.clone(), claim.lease()).await?;
            place.session = Some(session);
            place.node = None;
        }
        let Some(session) = &mut place.session else {
            return Err(Failure::Expired);
        };
        let line = line(claim.name());
        let mut children = enter(session, &line).await?;
        let own = claim.owner().to_string();
        // An earlier question may have made it, and not have heard of it.
        let made = children.iter().find(|it| it.starts_with(&own)).cloned();
        if !waits && made.is_none() && !children.is_empty() {
            // Who only tries leaves the line alone.
            return Ok(Asked::Taken);
        }
        let (path, token) = match (made, place.node.take()) {
            (Some(_), Some(node)) => node,
            (Some(name), None) => {
                let path = format!("{line}/{name}");
                let czxid = session.czxid(&path).await?;
                (path, token_of(czxid))
            }
            (None, _) => {
                let path = format!("{line}/{own}-");
                let created = session.create(&path, Mode::EphemeralSequential).await?;
                children = session.children(&line).await?;
                (created.path, token_of(created.czxid))
            }
        };
        let first = children.iter().min_by_key(|name| number(name));
        let is_first = first.is_some_and(|it| path.ends_with(it.as_str()));
        place.node = Some((path, token));
        if !is_first {
            return Ok(Asked::Taken);
        }
        Ok(Asked::Held {
            token,
            lease: session.timeout().min(claim.lease()),
        })
    }

    /// Waits until who stands before us is gone.
    async fn waited(&self, claim: &Claim) -> Result<(), Failure> {
        let Some(place) = self.find(claim.owner()) else {
            return Ok(());
        };
        let mut place = place.lock().await;
        let Place {
            session: Some(session),
            node: Some((node, _)),
        } = &mut *place
        else {
            return Ok(());
        };
        let line = line(claim.name());
        let ours = number(node);
        let children = session.children(&line).await?;
        let before = children.iter().filter(|name| number(name) < ours);
        match before.max_by_key(|name| number(name)) {
            Some(before) => session.changed(&format!("{line}/{before}")).await,
            None => Ok(()),
        }
    }

    fn error(&self, failure: Failure) -> LockError {
        let error = match failure {
            Failure::Server(error) => error,
            Failure::Expired => self.dialer.unavailable("the session has expired"),
            Failure::NoNode => self.dialer.unavailable("a node of ours was removed"),
            Failure::NodeExists => self.dialer.unavailable("a node of ours is there already"),
        };
        error.into()
    }
}

/// The names in a line, which is made if there is none.
async fn enter(session: &mut Session, line: &str) -> Result<Vec<String>, Failure> {
    match session.children(line).await {
        Err(Failure::NoNode) => {}
        answered => return answered,
    }
    let roots = ROOTS.map(|root| (root, Mode::Persistent));
    for (path, mode) in roots.into_iter().chain([(line, Mode::Container)]) {
        match session.create(path, mode).await {
            Ok(_) | Err(Failure::NodeExists) => {}
            Err(error) => return Err(error),
        }
    }
    session.children(line).await
}

/// A node's name has no slash, and is none of those that mean a directory.
fn line(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '/' => escaped.push_str("%2F"),
            '%' => escaped.push_str("%25"),
            '.' => escaped.push_str("%2E"),
            c => escaped.push(c),
        }
    }
    format!("/ensue/locks/{escaped}")
}

/// What the server has added to the name of a node.
fn number(name: &str) -> u32 {
    let digits = name.get(name.len().saturating_sub(10)..);
    digits.and_then(|it| it.parse().ok()).unwrap_or(u32::MAX)
}

fn token_of(czxid: i64) -> FencingToken {
    FencingToken::new(u64::try_from(czxid).unwrap_or_default())
}

impl LockKeeper for ZooKeeperLocks {
    fn guarantees(&self) -> LockGuarantees {
        LockGuarantees {
            purpose: Purpose::Correctness,
            fairness: Fairness::InOrder,
        }
    }

    fn ask<'a>(&'a self, claim: &'a Claim, waits: bool) -> BoxFuture<'a, Result<Asked>> {
        async move {
            let place = self.places().entry(claim.owner()).or_default().clone();
            let mut place = place.lock().await;
            match self.asked(claim, waits, &mut place).await {
                // Of the line was removed while we entered it, or our session while we were away: once more.
                Err(Failure::Expired | Failure::NoNode) => {
                    *place = Place::default();
                    let asked = self.asked(claim, waits, &mut place).await;
                    asked.map_err(|error| self.error(error))
                }
                asked => asked.map_err(|error| self.error(error)),
            }
        }
        .boxed()
    }

    fn turn<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, ()> {
        async {
            if let Err(error) = self.waited(claim).await {
                let error = self.error(error);
                tracing::debug!(lock = claim.name(), %error, "a turn cannot be waited for");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        .boxed()
    }

    fn renew<'a>(&'a self, claim: &'a Claim, token: FencingToken) -> BoxFuture<'a, Result<bool>> {
        async move {
            let Some(place) = self.find(claim.owner()) else {
                return Ok(false);
            };
            let mut place = place.lock().await;
            let Place {
                session: Some(session),
                node: Some((node, held)),
            } = &mut *place
            else {
                return Ok(false);
            };
            match session.czxid(node).await {
                Ok(czxid) => Ok(token_of(czxid) == token && *held == token),
                Err(Failure::Expired | Failure::NoNode) => Ok(false),
                Err(error) => Err(self.error(error)),
            }
        }
        .boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<()>> {
        async {
            let place = self.places().remove(&claim.owner());
            let Some(place) = place else {
                return Ok(());
            };
            let session = place.lock().await.session.take();
            match session {
                Some(mut session) => {
                    let closed = session.close().await;
                    closed.map_err(|error| self.error(error))
                }
                None => Ok(()),
            }
        }
        .boxed()
    }
}

impl fmt::Debug for ZooKeeperLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperLocks")
            .field("dialer", &self.dialer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_the_name_of_one_node() {
        assert_eq!(line("a/b"), "/ensue/locks/a%2Fb");
        assert_ne!(line("a/b"), line("a%2Fb"));
        assert_eq!(line(".."), "/ensue/locks/%2E%2E");
    }

    #[test]
    fn the_line_is_in_the_order_of_its_numbers() {
        assert_eq!(number("0a1b-0000000012"), 12);
        assert!(number("zzz-0000000009") < number("aaa-0000000010"));
    }
}
