//! An engine with keys: everything else goes through to the engine.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _};

use super::KEY_CACHED;
use super::cipher;
use super::keys::{KeyLookup, KeyStore, SubjectKey, failed};
use crate::engine::{
    Append, Appended, Driver, Member, SharedEngine, Subscription, Vault, directory_of,
    forward_engine,
};
use crate::error::{PersonalError, Result};
use crate::event::{KEY_BYTES_MAX, Opened, Sealed};
use crate::time::{Clock, Timestamp};

/// The most keys that are kept in memory.
const KEYS_CACHED_MAX: usize = 4096;

/// An engine with keys.
#[derive(Debug)]
struct Keyed {
    inner: SharedEngine,
    vault: StoreVault,
}

/// `engine`, with what is in `store` as its keys.
pub(crate) fn keyed(engine: SharedEngine, store: impl KeyStore) -> Result<SharedEngine> {
    if let (Some(log), Some(keys)) = (directory_of(engine.url())?, store.directory()) {
        check_apart(&log, keys)?;
    }
    let vault = StoreVault {
        store: Box::new(store),
        clock: engine.clock().clone(),
        cache: Mutex::default(),
    };
    Ok(Arc::new(Keyed {
        inner: engine,
        vault,
    }))
}

/// Refuses keys that a backup of the log would have.
fn check_apart(log: &Path, keys: &Path) -> Result<(), PersonalError> {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let (log, keys) = (whole(log), whole(keys));
    if !keys.starts_with(&log) && !log.starts_with(&keys) {
        return Ok(());
    }
    let problem = format!(
        "their directory `{}` and that of the log, `{}`, are one within the other; a backup of the log would have \
         the keys: keep them elsewhere",
        keys.display(),
        log.display()
    );
    Err(failed(problem, None))
}

impl Driver for Keyed {
    forward_engine!(inner without vault);

    fn vault(&self) -> Option<&dyn Vault> {
        Some(&self.vault)
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        self.inner.append(batch)
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        self.inner.join(subscription)
    }
}

/// Seals with AES-256-GCM and the keys of a store, some of which it remembers for a while.
struct StoreVault {
    store: Box<dyn KeyStore>,
    clock: Clock,
    cache: Mutex<Cache>,
}

/// What was looked up.
#[derive(Default)]
struct Cache {
    keys: HashMap<(String, Which), Cached>,
    /// How often something was dropped: what was looked up before does not count any more.
    drops: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    Newest,
    Number(u32),
}

struct Cached {
    key: SubjectKey,
    since: Timestamp,
}

impl StoreVault {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what was looked up then still counts. A clock that went back makes nothing younger.
    fn is_fresh(&self, since: Timestamp) -> bool {
        let now = self.clock.now();
        now >= since && now.since(since) < KEY_CACHED
    }

    async fn key(&self, subject: &str, which: Which) -> Result<KeyLookup, PersonalError> {
        let name = (subject.to_owned(), which);
        // What is found may be older than the moment in which it is.
        let (since, drops) = {
            let cache = self.cache();
            if let Some(cached) = cache.keys.get(&name).filter(|it| self.is_fresh(it.since)) {
                return Ok(KeyLookup::Key(cached.key.clone()));
            }
            (self.clock.now(), cache.drops)
        };
        let found = match which {
            Which::Newest => self.store.newest(subject).await?,
            Which::Number(number) => self.store.key(subject, number).await?,
        };
        let mut cache = self.cache();
        match &found {
            KeyLookup::Key(key) if cache.drops == drops => {
                if cache.keys.len() >= KEYS_CACHED_MAX {
                    cache.keys.retain(|_, cached| self.is_fresh(cached.since));
                }
                if cache.keys.len() >= KEYS_CACHED_MAX {
                    cache.keys.clear();
                }
                let key = key.clone();
                cache.keys.insert(name, Cached { key, since });
            }
            _ => drop(cache.keys.remove(&name)),
        }
        Ok(found)
    }

    /// Lets go of what is remembered of a subject.
    fn drop_cached(&self, subject: &str) {
        let mut cache = self.cache();
        cache.keys.retain(|(of, _), _| of != subject);
        cache.drops += 1;
    }
}

/// Refuses what is no subject.
fn check_subject(subject: &str) -> Result<(), PersonalError> {
    if (1..=KEY_BYTES_MAX).contains(&subject.len()) {
        return Ok(());
    }
    Err(PersonalError::Subject {
        subject: subject.chars().take(80).collect(),
        bytes_max: KEY_BYTES_MAX,
    })
}

fn forgotten(subject: &str) -> PersonalError {
    PersonalError::Forgotten {
        subject: subject.to_owned(),
    }
}

impl Vault for StoreVault {
    fn seal<'a>(
        &'a self,
        subject: &'a str,
        plain: Vec<u8>,
    ) -> BoxFuture<'a, Result<Sealed, PersonalError>> {
        async move {
            check_subject(subject)?;
            match self.key(subject, Which::Newest).await? {
                KeyLookup::Key(key) => {
                    let bytes = cipher::seal(subject, &key, plain)?;
                    Ok(Sealed::new(subject, key.number(), bytes))
                }
                KeyLookup::Forgotten => Err(forgotten(subject)),
                KeyLookup::Unknown => Err(failed("the store made no key for a new subject", None)),
            }
        }
        .boxed()
    }

    fn open<'a>(&'a self, sealed: &'a Sealed) -> BoxFuture<'a, Result<Opened, PersonalError>> {
        async move {
            let subject = sealed.subject();
            // No one can have sealed it, and no store is asked for it.
            if check_subject(subject).is_err() {
                return Ok(Opened::Masked);
            }
            Ok(
                match self.key(subject, Which::Number(sealed.key())).await? {
                    KeyLookup::Key(key) => {
                        Opened::Known(cipher::open(subject, &key, sealed.bytes())?)
                    }
                    KeyLookup::Forgotten => Opened::Forgotten,
                    KeyLookup::Unknown => Opened::Masked,
                },
            )
        }
        .boxed()
    }

    fn rotate<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        async move {
            check_subject(subject)?;
            let rotated = self.store.rotate(subject).await;
            self.drop_cached(subject);
            match rotated? {
                KeyLookup::Key(key) => Ok(key.number()),
                KeyLookup::Forgotten => Err(forgotten(subject)),
                KeyLookup::Unknown => Err(failed("the store made no key", None)),
            }
        }
        .boxed()
    }

    fn forget<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        async move {
            check_subject(subject)?;
            let destroyed = self.store.forget(subject).await;
            // Whatever came of it.
            self.drop_cached(subject);
            destroyed
        }
        .boxed()
    }
}

impl fmt::Debug for StoreVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreVault")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
