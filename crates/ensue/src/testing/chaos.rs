//! An engine that fails on purpose, at a step that a test chooses.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};

use crate::engine::{
    Append, Appended, Commit, Committed, Delivery, Driver, Member, SharedEngine, Subscription,
    forward_engine,
};
use crate::error::{EngineError, Error, Result};

/// What goes wrong.
///
/// A *step* is an append or a commit, counted from 1 over the whole engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: count the steps.
    None,
    /// The process dies before this step reaches the engine.
    CrashBefore(u64),
    /// The process dies after this step is durable and before it is acknowledged.
    CrashAfter(u64),
    /// Every append reaches the engine twice, as if its acknowledgement had been lost.
    Duplicates,
    /// Events of different keys arrive in an order drawn from this seed, in pieces of a size drawn
    /// from it.
    Reorder(u64),
}

/// An engine around another one, with a [`Fault`].
#[derive(Clone)]
pub struct Chaos {
    inner: SharedEngine,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Fault,
    steps: AtomicU64,
    is_dead: AtomicBool,
    /// No crash any more.
    is_spared: AtomicBool,
    random: Mutex<fastrand::Rng>,
}

impl Chaos {
    /// `inner`, with `fault`.
    pub fn new(inner: SharedEngine, fault: Fault) -> Self {
        let seed = if let Fault::Reorder(seed) = fault {
            seed
        } else {
            0
        };
        let shared = Shared {
            fault,
            steps: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
            is_spared: AtomicBool::new(false),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        };
        Self {
            inner,
            shared: Arc::new(shared),
        }
    }

    /// How many steps there were.
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::SeqCst)
    }

    /// A crash that has not happened does not happen any more.
    pub(super) fn spare(&self) {
        self.shared.is_spared.store(true, Ordering::SeqCst);
    }

    /// Whether the crash has happened: everything fails since.
    pub fn is_dead(&self) -> bool {
        self.shared.is_dead.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn alive(&self) -> Result<()> {
        if self.is_dead.load(Ordering::SeqCst) {
            Err(died())
        } else {
            Ok(())
        }
    }

    fn crashes(&self, here: Fault) -> bool {
        self.fault == here && !self.is_spared.load(Ordering::SeqCst)
    }

    /// Runs a step, unless the process dies first; then or after it.
    async fn step<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        self.alive()?;
        let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        if self.crashes(Fault::CrashBefore(step)) {
            self.is_dead.store(true, Ordering::SeqCst);
            return Err(died());
        }
        let done = run.await?;
        if self.crashes(Fault::CrashAfter(step)) {
            self.is_dead.store(true, Ordering::SeqCst);
            return Err(died());
        }
        self.alive()?;
        Ok(done)
    }

    /// Shuffles events of different keys; those of one key keep their order.
    fn reorder(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        if !matches!(self.fault, Fault::Reorder(_)) {
            return deliveries;
        }
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<std::collections::VecDeque<Delivery>> = Vec::new();
        for delivery in deliveries {
            let same = |first: &Delivery| {
                first.envelope.topic() == delivery.envelope.topic()
                    && first.envelope.key() == delivery.envelope.key()
            };
            match keys
                .iter_mut()
                .find(|queue| queue.front().is_some_and(same))
            {
                Some(queue) => queue.push_back(delivery),
                None => keys.push([delivery].into()),
            }
        }
        let mut shuffled = Vec::new();
        while !keys.is_empty() {
            let drawn = random.usize(..keys.len());
            if let Some(delivery) = keys.get_mut(drawn).and_then(|queue| queue.pop_front()) {
                shuffled.push(delivery);
            }
            keys.retain(|queue| !queue.is_empty());
        }
        shuffled
    }

    fn take_max(&self, events_max: usize) -> usize {
        match self.fault {
            Fault::Reorder(_) => {
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                random.usize(1..=events_max.clamp(1, 16))
            }
            _ => events_max,
        }
    }
}

fn died() -> Error {
    Error::Engine(EngineError::Stopped(
        "the process died, as the test asked".into(),
    ))
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("inner", &self.inner)
            .field("fault", &self.shared.fault)
            .finish()
    }
}

impl Driver for Chaos {
    forward_engine!(inner);

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        async move {
            let again = (self.shared.fault == Fault::Duplicates
                && batch.iter().all(|append| append.expect.is_none()))
            .then(|| batch.clone());
            let appended = self.shared.step(self.inner.append(batch)).await?;
            if let Some(again) = again {
                self.inner.append(again).await?;
            }
            Ok(appended)
        }
        .boxed()
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        async move {
            self.shared.alive()?;
            let inner = self.inner.join(subscription).await?;
            let member = ChaosMember {
                inner,
                shared: self.shared.clone(),
            };
            Ok(Box::new(member) as Box<dyn Member>)
        }
        .boxed()
    }
}

struct ChaosMember {
    inner: Box<dyn Member>,
    shared: Arc<Shared>,
}

impl fmt::Debug for ChaosMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Member for ChaosMember {
    fn next(&self, events_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        async move {
            self.shared.alive()?;
            let deliveries = self.inner.next(self.shared.take_max(events_max)).await?;
            self.shared.alive()?;
            Ok(self.shared.reorder(deliveries))
        }
        .boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        self.shared.step(self.inner.commit(commit)).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            // A dead process says no farewell.
            self.shared.alive()?;
            self.inner.leave().await
        }
        .boxed()
    }
}
