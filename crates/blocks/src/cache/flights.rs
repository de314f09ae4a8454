//! What is being loaded: one load for a key at a time, whose result all who ask meanwhile share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::entry::{Loaded, Value};
use super::error::{BoxError, CacheError};

/// A call of a loader.
pub(super) type Loading<T> =
    Pin<Box<dyn Future<Output = Result<Loaded<T>, BoxError>> + Send + 'static>>;
/// A loader.
pub(super) type Load<T> = Arc<dyn Fn(String) -> Loading<T> + Send + Sync>;

/// What came of a load; nothing yet while it goes on.
type Landing<T> = Option<Result<Value<T>, CacheError>>;

pub(super) struct Flights<T>(Arc<Mutex<Flying<T>>>);

struct Flying<T> {
    keys: HashMap<String, Flight<T>>,
    next: u64,
}

struct Flight<T> {
    number: u64,
    landing: Arc<watch::Sender<Landing<T>>>,
}

/// A load that somebody has to do. While this lives, others wait for it.
pub(super) struct Takeoff<T> {
    flying: Arc<Mutex<Flying<T>>>,
    key: String,
    number: u64,
    landing: Arc<watch::Sender<Landing<T>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Flying {
            keys: HashMap::new(),
            next: 0,
        })))
    }
}

fn lock<T>(flying: &Mutex<Flying<T>>) -> MutexGuard<'_, Flying<T>> {
    flying.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a load has given.
pub(super) async fn landed<T>(
    mut landing: watch::Receiver<Landing<T>>,
    key: &str,
) -> Result<Value<T>, CacheError> {
    let ended = || CacheError::LoaderEnded {
        key: key.to_owned(),
    };
    let landing = landing.wait_for(Option::is_some).await;
    landing.map_err(|_| ended())?.clone().ok_or_else(ended)?
}

impl<T> Flights<T> {
    /// Takes part in the load of a key; if there was none, the caller has to do it.
    pub(super) fn join(&self, key: &str) -> (watch::Receiver<Landing<T>>, Option<Takeoff<T>>) {
        let mut flying = lock(&self.0);
        let number = flying.next;
        let place = match flying.keys.entry(key.to_owned()) {
            Entry::Occupied(flight) => return (flight.get().landing.subscribe(), None),
            Entry::Vacant(place) => place,
        };
        let (sender, landing) = watch::channel(None);
        let sender = Arc::new(sender);
        place.insert(Flight {
            number,
            landing: sender.clone(),
        });
        flying.next = number.wrapping_add(1);
        let takeoff = Takeoff {
            flying: self.0.clone(),
            key: key.to_owned(),
            number,
            landing: sender,
        };
        (landing, Some(takeoff))
    }

    /// Who asks from now on does not share what is being loaded: it may be from before a change.
    pub(super) fn part(&self, key: &str) {
        lock(&self.0).keys.remove(key);
    }
}

impl<T> Takeoff<T> {
    /// Gives the result to all who wait.
    pub(super) fn land(self, result: Result<Value<T>, CacheError>) {
        self.leave();
        self.landing.send_replace(Some(result));
    }

    /// Completes when no one waits for the load any more; from then on no one joins it. Cancel-safe.
    pub(super) async fn unwanted(&self) {
        loop {
            self.landing.closed().await;
            let mut flying = lock(&self.flying);
            // One may have joined since.
            if self.landing.receiver_count() == 0 {
                return self.leave_from(&mut flying);
            }
        }
    }

    fn leave(&self) {
        self.leave_from(&mut lock(&self.flying));
    }

    fn leave_from(&self, flying: &mut Flying<T>) {
        let is_ours = |it: &Flight<T>| it.number == self.number;
        if flying.keys.get(&self.key).is_some_and(is_ours) {
            flying.keys.remove(&self.key);
        }
    }
}

/// Also when the loader panics: those who wait hear that the sender is gone.
impl<T> Drop for Takeoff<T> {
    fn drop(&mut self) {
        self.leave();
    }
}
