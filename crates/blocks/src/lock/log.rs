//! Locks in an engine of Ensue: the log decides, and the token is a position in it.

use std::time::Duration;

use ensue::engine::{Expect, Query, Recorded};
use ensue::error::{AppendError, EngineError, Error};
use ensue::{Conditional, Engine, Event, Outgoing, Position, Publish, Publisher};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::error::{LockError, Result};
use super::held::Lock;
use super::keeper::{Asked, Claim, Fairness, LockGuarantees, LockKeeper, Purpose};
use super::token::FencingToken;

/// The topic of all locks; their names are its keys.
const TOPIC: &str = "locks";
const SOURCE: &str = "/locks";
/// How often others may be faster in a row.
const CONFLICTS_MAX: u32 = 64;
/// Who waits looks again after this long, whatever the log says.
const LOOK: Duration = Duration::from_secs(5);

/// A lock has a new holder: its token is where this is.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "lock.acquired", topic = "locks")]
struct Acquired {
    owner: String,
}

/// A lock has the holder that it had.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "lock.renewed", topic = "locks")]
struct Renewed {
    owner: String,
    token: u64,
}

/// Something was appended under a lock, together with this.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "lock.used", topic = "locks")]
struct Used {
    owner: String,
    token: u64,
}

/// A lock is free: its holder says so.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "lock.released", topic = "locks")]
struct Released {}

/// A lock is free: its lease has ended. The timer that appends it is set and moved together with what says who
/// holds the lock, so that it always belongs to what stands before it.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "lock.expired", topic = "locks")]
struct Expired {}

/// Locks in an engine of Ensue, as events of the topic `locks`: every change is a conditional append, and the
/// end of a lease is scheduled in the same append as its beginning. On an embedded engine they are for the
/// tasks of one process, on the others for all processes.
///
/// Not fair: those who wait follow the log, and the first to append has it. The events of a lock must not be
/// removed by retention while anybody uses it.
#[derive(Clone, Debug)]
pub struct LogLocks {
    engine: Engine,
    publisher: Publisher,
}

/// What the last event of a lock says.
enum Now {
    Free(Expect),
    Held {
        owner: String,
        token: u64,
        last: Position,
    },
}

/// An event, with or without a condition.
enum Part {
    Plain(Outgoing),
    On(Conditional),
}

impl Publish for Part {
    fn publication(self) -> (Outgoing, Option<Expect>) {
        match self {
            Self::Plain(outgoing) => outgoing.publication(),
            Self::On(conditional) => conditional.publication(),
        }
    }
}

impl LogLocks {
    /// In the log of this engine.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            publisher: engine.publisher(SOURCE),
        }
    }

    /// The guard: appends events if the lock is held, all of them or none. In the log they stand before
    /// whatever the next holder does.
    ///
    /// # Errors
    /// [`LockError::Fenced`] when it is not held any more, and what appending reports.
    pub async fn append(
        &self,
        lock: &Lock,
        events: impl IntoIterator<Item = Outgoing>,
    ) -> Result<Vec<Position>> {
        let events: Vec<Outgoing> = events.into_iter().collect();
        let token = lock.token().get();
        for _ in 0..CONFLICTS_MAX {
            let (owner, last) = match self.now(lock.name()).await? {
                Now::Held {
                    owner,
                    token: held,
                    last,
                } if held == token => (owner, last),
                _ => {
                    return Err(LockError::Fenced {
                        name: lock.name().to_owned(),
                        token,
                    });
                }
            };
            let used = Outgoing::new(Used { owner, token }).key(lock.name());
            let mut batch = vec![Part::On(used.expect(Expect::At(last)))];
            batch.extend(events.iter().cloned().map(Part::Plain));
            if let Some(positions) = self.try_append(batch).await? {
                return Ok(positions.into_iter().skip(1).collect());
            }
        }
        Err(self.contended(lock.name()))
    }

    /// What the log says of a lock.
    async fn now(&self, name: &str) -> Result<Now> {
        let Some(last) = self.engine.last(TOPIC, name).await? else {
            return Ok(Now::Free(Expect::Absent));
        };
        of(&last)
    }

    /// The positions, or nothing if others were faster.
    async fn try_append(&self, batch: Vec<Part>) -> Result<Option<Vec<Position>>> {
        match self.publisher.publish_all(batch).await {
            Ok(appended) => Ok(Some(appended.iter().map(|it| it.position).collect())),
            Err(Error::Append(AppendError::Conflict { found, .. })) => {
                if let Some(found) = found {
                    // It may be on its way only.
                    self.engine.wait(found.into()).await?;
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Appends what says who holds a lock, and sets or moves the end of its lease.
    async fn hold<E: Event>(
        &self,
        claim: &Claim,
        event: E,
        expect: Expect,
    ) -> Result<Option<Position>> {
        let event = Outgoing::new(event).key(claim.name()).expect(expect);
        let end = Outgoing::new(Expired {}).key(claim.name());
        let end = end.timer(timer(claim.name()), claim.lease());
        let appended = self.try_append(vec![Part::On(event), Part::Plain(end)]);
        Ok(appended.await?.and_then(|it| it.first().copied()))
    }

    async fn asked(&self, claim: &Claim) -> Result<Asked> {
        let owner = claim.owner().to_string();
        for _ in 0..CONFLICTS_MAX {
            let expect = match self.now(claim.name()).await? {
                Now::Free(expect) => expect,
                Now::Held {
                    owner: held, last, ..
                } if held == owner => Expect::At(last),
                Now::Held { .. } => return Ok(Asked::Taken),
            };
            let acquired = Acquired {
                owner: owner.clone(),
            };
            if let Some(position) = self.hold(claim, acquired, expect).await? {
                return Ok(Asked::Held {
                    token: FencingToken::new(position.get()),
                    lease: claim.lease(),
                });
            }
        }
        Err(self.contended(claim.name()))
    }

    async fn renewed(&self, claim: &Claim, token: FencingToken) -> Result<bool> {
        for _ in 0..CONFLICTS_MAX {
            let (owner, last) = match self.now(claim.name()).await? {
                Now::Held {
                    owner,
                    token: held,
                    last,
                } if held == token.get() => (owner, last),
                _ => return Ok(false),
            };
            let renewed = Renewed {
                owner,
                token: token.get(),
            };
            if self.hold(claim, renewed, Expect::At(last)).await?.is_some() {
                return Ok(true);
            }
        }
        Err(self.contended(claim.name()))
    }

    async fn released(&self, claim: &Claim) -> Result<()> {
        let owner = claim.owner().to_string();
        for _ in 0..CONFLICTS_MAX {
            let last = match self.now(claim.name()).await? {
                Now::Held {
                    owner: held, last, ..
                } if held == owner => last,
                _ => return Ok(()),
            };
            // The end of the lease stays: it is moved by the next holder, or says again that it is free.
            let released = Outgoing::new(Released {}).key(claim.name());
            let released = Part::On(released.expect(Expect::At(last)));
            if self.try_append(vec![released]).await?.is_some() {
                return Ok(());
            }
        }
        Err(self.contended(claim.name()))
    }

    /// It may be better a moment later.
    fn contended(&self, name: &str) -> LockError {
        let busy = EngineError::Unavailable {
            server: self.engine.url().to_owned(),
            reason: format!(
                "others changed the lock `{name}` first, {CONFLICTS_MAX} times in a row"
            ),
        };
        LockError::Server(busy.into())
    }

    /// Waits for the next event of the lock.
    async fn changed(&self, claim: &Claim) -> Result<()> {
        let from = match self.now(claim.name()).await? {
            Now::Free(_) => return Ok(()),
            Now::Held { last, .. } => last.next(),
        };
        let mut events = self.engine.read(Query {
            topics: Some(TOPIC.parse().map_err(Error::from)?),
            key: Some(claim.name().to_owned()),
            from: from.into(),
            ..Query::default()
        });
        events = events.follow();
        while let Some(event) = events.next().await {
            if let Now::Free(_) = of(&event?)? {
                break;
            }
        }
        Ok(())
    }
}

/// What an event means as the last one of its lock.
fn of(last: &Recorded) -> Result<Now> {
    let decode = |error| LockError::Server(Error::from(error));
    let envelope = &last.envelope;
    Ok(match envelope.event_type() {
        "lock.acquired" => Now::Held {
            owner: envelope.decode::<Acquired>().map_err(decode)?.owner,
            token: last.position.get(),
            last: last.position,
        },
        "lock.renewed" => {
            let Renewed { owner, token } = envelope.decode().map_err(decode)?;
            Now::Held {
                owner,
                token,
                last: last.position,
            }
        }
        "lock.used" => {
            let Used { owner, token } = envelope.decode().map_err(decode)?;
            Now::Held {
                owner,
                token,
                last: last.position,
            }
        }
        "lock.released" | "lock.expired" => Now::Free(Expect::At(last.position)),
        // What it means, who wrote it knows: a lock that may be held is not free.
        other => {
            return Err(LockError::Invalid {
                what: "the last event of a lock in the log",
                value: other.to_owned(),
                expected: format!(
                    "one of this program's; update it, or leave the topic `{TOPIC}` alone and end the lock by \
                     `lock.released`"
                ),
            });
        }
    })
}

fn timer(name: &str) -> String {
    format!("end of {name}")
}

impl LockKeeper for LogLocks {
    fn guarantees(&self) -> LockGuarantees {
        LockGuarantees {
            purpose: Purpose::Correctness,
            fairness: Fairness::Any,
        }
    }

    fn ask<'a>(&'a self, claim: &'a Claim, _: bool) -> BoxFuture<'a, Result<Asked>> {
        self.asked(claim).boxed()
    }

    fn turn<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, ()> {
        async {
            let looked = tokio::time::timeout(LOOK, self.changed(claim)).await;
            if let Ok(Err(error)) = looked {
                tracing::debug!(lock = claim.name(), %error, "the log cannot be followed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        .boxed()
    }

    fn renew<'a>(&'a self, claim: &'a Claim, token: FencingToken) -> BoxFuture<'a, Result<bool>> {
        self.renewed(claim, token).boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<()>> {
        self.released(claim).boxed()
    }
}
