//! A cache, as programs hold it.

use std::fmt;
use std::sync::Arc;

use ensue_core::engine::Position;
use ensue_core::error::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::away::Away;
use super::counts::{CacheCounts, Counters};
use super::entry::{Content, Entry, Loaded, Value};
use super::error::CacheError;
use super::flights::{Flights, Load, Takeoff, landed};
use super::store::CacheStore;
use super::times::Times;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 200;
/// How many loads of others a caller waits for that do not have what it wants.
const JOINS_MAX: usize = 8;
/// How often a value is loaded again that is older than what is known of it.
const LOADS_EACH_MAX: usize = 2;

/// A cache of what a loader gives. Cloning is cheap, and gives the same cache.
///
/// - **Loaded once**: those who ask for a key that is being loaded share the result. A caller that is dropped
///   does not end the load, unless it has not begun: where [`CacheBuilder::loads_max`](super::CacheBuilder::loads_max)
///   others are being loaded, it waits for its turn as long as someone waits for it.
/// - **Stale while it is loaded anew**: when its time is over, a value is still given, and loaded in the
///   background, for as long as [`CacheBuilder::stale`](super::CacheBuilder::stale) says.
/// - **Nothing is kept, too**: that a key has no value, for a shorter time.
/// - **A store that is away** is warned of once, and asked by one caller a second; everybody else loads.
pub struct Cache<T>(Arc<Inner<T>>);

struct Inner<T> {
    store: Arc<dyn CacheStore<T>>,
    load: Load<T>,
    times: Times,
    /// Turns to load.
    loads: Arc<Semaphore>,
    flights: Flights<T>,
    away: Away,
    counters: Counters,
}

impl<T: Send + Sync + 'static> Cache<T> {
    pub(super) fn new(
        store: Arc<dyn CacheStore<T>>,
        load: Load<T>,
        times: Times,
        loads_max: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            load,
            times,
            loads: Arc::new(Semaphore::new(loads_max.min(Semaphore::MAX_PERMITS))),
            flights: Flights::default(),
            away: Away::default(),
            counters: Counters::default(),
        }))
    }

    /// The value of a key, or that it has none: from the store, or loaded.
    ///
    /// # Errors
    /// The loader's; never the store's, without which the value is loaded.
    pub async fn get(&self, key: &str) -> Result<Option<Arc<T>>, CacheError> {
        self.get_since(key, Position::ZERO).await
    }

    /// As [`Self::get`], with all events up to `position` in it: for those who read their own write.
    ///
    /// # Errors
    /// As for [`Self::get`], and [`CacheError::Behind`] when what it is loaded from is not as far.
    pub async fn get_since(
        &self,
        key: &str,
        position: Position,
    ) -> Result<Option<Arc<T>>, CacheError> {
        check(key)?;
        let inner = &self.0;
        if let Some(entry) = inner.look_up(key).await
            && let Some(value) = entry.value().filter(|it| it.position >= position)
        {
            let now = inner.times.clock.now();
            if now < entry.fresh_until {
                inner.counters.hits.add();
                return Ok(value.value);
            }
            if now < entry.stale_until {
                inner.counters.stale.add();
                // Where all who load are busy, the next one who asks has it loaded: nothing waits for its turn that no one
                // waits for.
                if let Ok(turn) = inner.loads.clone().try_acquire_owned()
                    && let (_, Some(takeoff)) = inner.flights.join(key)
                {
                    inner.take_off(key, position, takeoff, Some(turn));
                }
                return Ok(value.value);
            }
        }
        inner.counters.misses.add();
        inner.load_since(key, position).await
    }

    /// Says what the value of a key is since the event at `position`: what a handler does that knows. Whether
    /// the store has kept it: not if it has a newer one, and not if the value is too large for it. Then it is loaded when it
    /// is asked for, as after [`Self::invalidate`].
    ///
    /// # Errors
    /// [`CacheError::Store`] when the store has not answered: it may still have the old value, so tell it again,
    /// as a handler does whose error has it tried again.
    pub async fn put(
        &self,
        key: &str,
        position: Position,
        value: Option<T>,
    ) -> Result<bool, CacheError> {
        let content = match value {
            Some(value) => Content::Present(Arc::new(value)),
            None => Content::Absent,
        };
        self.tell(key, position, content).await
    }

    /// Says that the event at `position` has changed the value of a key: it is loaded when it is asked for, and
    /// what was read before the event does not come back. As often as it likes: repeating is safe.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub async fn invalidate(&self, key: &str, position: Position) -> Result<(), CacheError> {
        self.tell(key, position, Content::Outdated).await.map(drop)
    }

    /// How it has fared.
    pub fn counts(&self) -> CacheCounts {
        self.0.counters.counts(self.0.away.is_away())
    }

    /// The store is asked in any case: what it does not hear of now, it would not know when it is back.
    async fn tell(
        &self,
        key: &str,
        position: Position,
        content: Content<T>,
    ) -> Result<bool, CacheError> {
        check(key)?;
        let inner = &self.0;
        let is_value = matches!(content, Content::Present(_));
        let entry = inner.times.entry(position, content);
        let kept = match inner.store.put(key, entry).await {
            // What it had before must not outlive a value that it cannot keep.
            Err(Error::Limit(limit)) if is_value => {
                tracing::debug!(key, %limit, "a cache does not keep a value");
                let outdated = inner.times.entry(position, Content::Outdated);
                inner.store.put(key, outdated).await.map(|_| false)
            }
            kept => kept,
        };
        inner.note(&kept);
        inner.flights.part(key);
        let is_kept = kept?;
        if !is_kept {
            inner.counters.outdated.add();
        }
        Ok(is_kept)
    }
}

fn check(key: &str) -> Result<(), CacheError> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(CacheError::Key {
        bytes: key.len(),
        max: KEY_BYTES_MAX,
    })
}

impl<T: Send + Sync + 'static> Inner<T> {
    /// What the store has, if it answers.
    async fn look_up(&self, key: &str) -> Option<Entry<T>> {
        if !self.away.may_ask(&self.times.clock) {
            self.counters.bypassed.add();
            return None;
        }
        let found = self.store.get(key).await;
        self.note(&found);
        found.ok().flatten()
    }

    async fn load_since(
        self: &Arc<Self>,
        key: &str,
        position: Position,
    ) -> Result<Option<Arc<T>>, CacheError> {
        let mut found = Position::ZERO;
        // What others load may be from before: then it is loaded for this caller.
        for _ in 0..JOINS_MAX {
            let (landing, takeoff) = self.flights.join(key);
            let is_ours = takeoff.is_some();
            if let Some(takeoff) = takeoff {
                self.take_off(key, position, takeoff, None);
            }
            let value = landed(landing, key).await?;
            if value.position >= position {
                return Ok(value.value);
            }
            found = value.position;
            if is_ours {
                break;
            }
        }
        Err(CacheError::Behind {
            key: key.to_owned(),
            found,
            wanted: position,
        })
    }

    /// Loads in a task of its own, which no caller can drop once it has its turn.
    fn take_off(
        self: &Arc<Self>,
        key: &str,
        position: Position,
        takeoff: Takeoff<T>,
        turn: Option<OwnedSemaphorePermit>,
    ) {
        let (inner, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move {
            let turn = match turn {
                Some(turn) => Some(turn),
                None => tokio::select! {
                    biased;
                    () = takeoff.unwanted() => return,
                    turn = inner.loads.clone().acquire_owned() => turn.ok(),
                },
            };
            let loaded = match inner.kept_meanwhile(&key, position).await {
                Some(value) => Ok(value),
                None => inner.load_and_keep(&key).await,
            };
            drop(turn);
            if let Err(error) = &loaded {
                inner.counters.load_failures.add();
                tracing::debug!(%error, "a value of a cache was not loaded");
            }
            takeoff.land(loaded);
        });
    }

    /// A fresh value that another load has kept after the caller had looked, and before it began to load.
    async fn kept_meanwhile(&self, key: &str, position: Position) -> Option<Value<T>> {
        let entry = self.look_up(key).await?;
        let is_fresh = self.times.clock.now() < entry.fresh_until;
        let value = entry.value().filter(|_| is_fresh)?;
        (value.position >= position).then_some(value)
    }

    /// Loads; again, if something newer was known: it may have been told while this was loaded.
    async fn load_and_keep(&self, key: &str) -> Result<Value<T>, CacheError> {
        let mut loads = 0;
        loop {
            let Loaded { position, value } = self.load(key).await?;
            loads += 1;
            let content = match value {
                Some(value) => Content::Present(Arc::new(value)),
                None => Content::Absent,
            };
            let value = match &content {
                Content::Present(value) => Some(value.clone()),
                _ => None,
            };
            let is_refused = self.keep(key, self.times.entry(position, content)).await;
            if !is_refused || loads >= LOADS_EACH_MAX {
                // What it is loaded from may be behind what is known: then that is what there is to give.
                return Ok(Value { position, value });
            }
        }
    }

    async fn load(&self, key: &str) -> Result<Loaded<T>, CacheError> {
        self.counters.loads.add();
        let limit = self.times.load_timeout;
        let loading = (self.load)(key.to_owned());
        match tokio::time::timeout(limit, loading).await {
            Ok(Ok(loaded)) => Ok(loaded),
            Ok(Err(reason)) => Err(CacheError::Load {
                key: key.to_owned(),
                reason: Arc::new(reason),
            }),
            Err(_) => Err(CacheError::LoadTimeout {
                key: key.to_owned(),
                limit,
            }),
        }
    }

    /// Keeps what was loaded, if the store answers; whether it was refused as older than what is there.
    async fn keep(&self, key: &str, entry: Entry<T>) -> bool {
        if !self.away.may_ask(&self.times.clock) {
            self.counters.bypassed.add();
            return false;
        }
        let kept = self.store.put(key, entry).await;
        self.note(&kept);
        let is_refused = matches!(kept, Ok(false));
        if is_refused {
            self.counters.outdated.add();
        }
        is_refused
    }

    fn note<A>(&self, answer: &Result<A, Error>) {
        if answer.is_err() {
            self.counters.store_failures.add();
        }
        self.away.answered(answer, &self.times.clock);
    }
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("store", &self.0.store)
            .field("counters", &self.0.counters)
            .finish_non_exhaustive()
    }
}
