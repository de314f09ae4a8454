//! A cache in Memcached.

use std::fmt;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::time::Duration;

use ensue_core::error::{Error, LimitError, Result};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::{decode, encode, position_of};
use super::entry::Entry;
use super::store::CacheStore;
use crate::memcached::{Memcached, VALUE_BYTES_MAX};

/// What Memcached takes for a key.
const KEY_BYTES_MAX: usize = 250;
/// From here on, Memcached takes seconds for a point in time.
const SECONDS_MAX: u32 = 30 * 24 * 60 * 60;
/// How often others may be faster with the same key in a row.
const TRIES_MAX: usize = 32;

/// Keeps entries in Memcached, as JSON, under keys that begin with a prefix; what is not a letter, a digit or one
/// of `-_.:/` is written as `%XX` there. Entries have up to 1 MiB.
pub struct MemcachedStore<T> {
    client: Memcached,
    prefix: String,
    of: PhantomData<fn() -> T>,
}

impl<T> MemcachedStore<T> {
    /// On the server of the URL, `memcached://host:port?tls=true`. It is connected when something is asked for.
    ///
    /// # Errors
    /// What is wrong with the URL; several servers in it are: what a process tells one of them, those who ask another
    /// would not hear of.
    pub fn new(url: &str, prefix: &str) -> Result<Self> {
        Ok(Self {
            client: Memcached::new(url)?,
            prefix: prefix.to_owned(),
            of: PhantomData,
        })
    }

    fn key(&self, key: &str) -> Result<String> {
        let mut whole = String::with_capacity(self.prefix.len() + key.len());
        for byte in self.prefix.bytes().chain(key.bytes()) {
            if byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte) {
                whole.push(char::from(byte));
            } else {
                // Writing to a String does not fail.
                let _ = write!(whole, "%{byte:02X}");
            }
        }
        if whole.len() <= KEY_BYTES_MAX {
            return Ok(whole);
        }
        Err(Error::Limit(LimitError {
            what: "the length of a key in Memcached in bytes, with its prefix and what is escaped"
                .to_owned(),
            value: whole.len() as u64,
            limit: "KEY_BYTES_MAX",
            max: KEY_BYTES_MAX as u64,
            advice: "use a shorter prefix, or a hash of the key",
        }))
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> CacheStore<T> for MemcachedStore<T> {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry<T>>>> {
        async {
            let found = self.client.get(&self.key(key)?).await?;
            Ok(found.and_then(|it| decode(&it.value)))
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, entry: Entry<T>) -> BoxFuture<'a, Result<bool>> {
        async move {
            let key = self.key(key)?;
            let value = encode(&entry, VALUE_BYTES_MAX)?;
            let seconds = seconds(entry.keep);
            for _ in 0..TRIES_MAX {
                let found = self.client.get(&key).await?;
                let there = found.as_ref().and_then(|it| position_of(&it.value));
                if there.is_some_and(|there| there > entry.position) {
                    return Ok(false);
                }
                if self
                    .client
                    .set(&key, &value, seconds, found.as_ref())
                    .await?
                {
                    return Ok(true);
                }
            }
            // Of this key alone: the server is there.
            Err(Error::Limit(LimitError {
                what: "how often others changed one key of Memcached first, in a row".to_owned(),
                value: TRIES_MAX as u64,
                limit: "TRIES_MAX",
                max: TRIES_MAX as u64,
                advice: "tell it again, or change it less often",
            }))
        }
        .boxed()
    }
}

fn seconds(keep: Duration) -> u32 {
    let whole = keep
        .as_secs()
        .saturating_add(u64::from(keep.subsec_nanos() > 0));
    u32::try_from(whole)
        .unwrap_or(SECONDS_MAX)
        .clamp(1, SECONDS_MAX)
}

impl<T> fmt::Debug for MemcachedStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedStore")
            .field("client", &self.client)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_is_one_word() {
        let store = MemcachedStore::<u8>::new("memcached://localhost", "p:").unwrap();
        assert_eq!(store.key("a b\r\n%").unwrap(), "p:a%20b%0D%0A%25");
        assert!(matches!(store.key(&"ä".repeat(60)), Err(Error::Limit(_))));
    }

    #[test]
    fn several_servers_are_refused() {
        let refused = MemcachedStore::<u8>::new("memcached://one,two", "p:").unwrap_err();
        assert!(
            refused.to_string().contains("name one of them"),
            "{refused}"
        );
    }

    #[test]
    fn a_time_is_whole_seconds_and_never_for_ever() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::MAX), SECONDS_MAX);
    }
}
