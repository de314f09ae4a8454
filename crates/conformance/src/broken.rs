//! Engines that break one promise each, so that a test can see the suite notice.
//!
//! Not for anything else: they wrap a [`Subject`] whose engine keeps its promises.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Storage, Subject, Terms};
use ensue_core::engine::OnDead;
use ensue_core::engine::{
    Append, Appended, Commit, Committed, Delivery, Driver, Effect, Member, Position, SharedEngine,
    Subscription, forward_engine,
};
use ensue_core::error::Result;
use ensue_core::time::{Clock, Timestamp};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Events come in the wrong order.
    Reordering,
    /// An id that was appended before is appended again, under another id.
    Forgetful,
    /// What waits behind a failure does not wait.
    Unparking,
    /// A commit settles, and loses its effects.
    LosesEffects,
    /// A commit has its effects, and does not settle.
    LosesSettlements,
    /// A commit has its effects even when it is refused.
    EffectsOfTheFenced,
    /// An append is acknowledged before anything is done about it.
    AcknowledgesEarly,
}

/// A subject whose engine breaks one promise.
#[derive(Debug)]
pub struct Broken<S> {
    subject: S,
    fault: Fault,
}

impl<S: Subject> Broken<S> {
    /// Breaks one promise of the subject's engine.
    pub fn new(subject: S, fault: Fault) -> Self {
        Self { subject, fault }
    }
}

impl<S: Subject> Subject for Broken<S> {
    fn name(&self) -> &str {
        self.subject.name()
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Box::pin(async {
            let inner = self.subject.storage().await?;
            let fault = self.fault;
            let current = Mutex::default();
            Ok(Box::new(BrokenStorage {
                inner,
                fault,
                current,
            }) as Box<dyn Storage>)
        })
    }

    fn owns_time(&self) -> bool {
        self.subject.owns_time()
    }

    /// Less patient: what a broken engine does not do, it does not do later either.
    fn terms(&self) -> Terms {
        Terms {
            arrive: Duration::from_secs(2),
            check: Duration::from_secs(20),
            ..self.subject.terms()
        }
    }
}

#[derive(Debug)]
struct BrokenStorage {
    inner: Box<dyn Storage>,
    fault: Fault,
    /// The engine inside the one that was opened last: the one that crashes.
    current: Mutex<Option<SharedEngine>>,
}

impl Storage for BrokenStorage {
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
        Box::pin(async {
            lock(&self.current).take();
            let inner = self.inner.open(clock).await?;
            *lock(&self.current) = Some(inner.clone());
            let engine = BrokenEngine {
                inner,
                fault: self.fault,
                seen: Arc::default(),
            };
            Ok(Arc::new(engine) as SharedEngine)
        })
    }

    fn crash(
        &self,
        engine: SharedEngine,
        members: Vec<Box<dyn Member>>,
    ) -> BoxFuture<'_, Result<()>> {
        drop(engine);
        match lock(&self.current).take() {
            Some(inner) => self.inner.crash(inner, members),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }
}

#[derive(Debug)]
struct BrokenEngine {
    inner: SharedEngine,
    fault: Fault,
    seen: Arc<Mutex<HashSet<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives an id that was seen before another one.
fn forget(seen: &Mutex<HashSet<String>>, append: &mut Append) {
    let envelope = &append.envelope;
    let is_new = lock(seen).insert(envelope.id().to_owned());
    let other = format!("{}/{}", fastrand::u32(..), envelope.id());
    if !is_new && let Ok(envelope) = envelope.to_builder().id(other).build() {
        append.envelope = envelope;
    }
}

impl Driver for BrokenEngine {
    forward_engine!(inner);

    fn append(&self, mut batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        match self.fault {
            Fault::Forgetful => {
                batch
                    .iter_mut()
                    .for_each(|append| forget(&self.seen, append));
                self.inner.append(batch)
            }
            Fault::AcknowledgesEarly => {
                let results = batch.iter().map(|_| Appended {
                    position: Position::ZERO,
                    is_duplicate: false,
                });
                let results = results.collect();
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    inner.append(batch).await
                });
                Box::pin(std::future::ready(Ok(results)))
            }
            _ => self.inner.append(batch),
        }
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        Box::pin(async {
            let member = BrokenMember {
                inner: self.inner.join(subscription).await?,
                engine: self.inner.clone(),
                fault: self.fault,
                seen: self.seen.clone(),
                released: Mutex::default(),
            };
            Ok(Box::new(member) as Box<dyn Member>)
        })
    }
}

#[derive(Debug)]
struct BrokenMember {
    inner: Box<dyn Member>,
    engine: SharedEngine,
    fault: Fault,
    seen: Arc<Mutex<HashSet<String>>>,
    /// What should have waited.
    released: Mutex<VecDeque<Delivery>>,
}

impl Member for BrokenMember {
    fn next(&self, events_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let released: Vec<_> = {
                let mut released = lock(&self.released);
                let count = released.len().min(events_max);
                released.drain(..count).collect()
            };
            if !released.is_empty() {
                return Ok(released);
            }
            let mut taken = self.inner.next(events_max).await?;
            if self.fault == Fault::Reordering {
                taken.reverse();
            }
            Ok(taken)
        })
    }

    fn commit(&self, mut commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        match self.fault {
            Fault::Forgetful => {
                for effect in &mut commit.effects {
                    if let Effect::Append(append) = effect {
                        forget(&self.seen, append);
                    }
                }
            }
            Fault::Unparking => {
                lock(&self.released).extend(commit.parked.drain(..));
                for retry in &mut commit.retries {
                    retry.due = Timestamp::EPOCH;
                }
                for death in &mut commit.dead {
                    death.on_dead = OnDead::Skip;
                }
            }
            Fault::LosesEffects => {
                commit.effects.clear();
                commit.state.clear();
            }
            Fault::LosesSettlements if !commit.effects.is_empty() => commit.settled.clear(),
            Fault::EffectsOfTheFenced => {
                let effects = std::mem::take(&mut commit.effects);
                let appends = effects.iter().filter_map(Effect::append).cloned().collect();
                return Box::pin(async {
                    self.engine.append(appends).await?;
                    self.inner.commit(commit).await
                });
            }
            _ => {}
        }
        self.inner.commit(commit)
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.leave()
    }
}
