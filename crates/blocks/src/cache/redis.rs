//! A cache in Redis.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ensue_brokers::redis::Client;
use ensue_core::error::Result;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::{decode, encode};
use super::entry::Entry;
use super::store::CacheStore;

/// How long Redis may take: longer, and the value is loaded without it.
const ANSWER: Duration = Duration::from_secs(1);
/// The largest entry.
const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// `KEYS[1]`: the entry. `ARGV`: its bytes, and how many milliseconds to keep it. Positions of 20 digits compare
/// as the numbers do.
const PUT: &str = "\
local there = redis.call('GETRANGE', KEYS[1], 0, 19)
if #there == 20 and there > string.sub(ARGV[1], 1, 20) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

/// Keeps entries in Redis, as JSON, under keys that begin with a prefix. A server with `maxmemory` and
/// `maxmemory-policy allkeys-lru` keeps those that were used last.
pub struct RedisStore<T> {
    client: Client,
    prefix: String,
    of: PhantomData<fn() -> T>,
}

impl<T> RedisStore<T> {
    /// On the server of the URL, `redis://user:password@host:port/database?tls=true`. It is connected when
    /// something is asked for.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, prefix: &str) -> Result<Self> {
        Ok(Self {
            client: Client::new(url)?,
            prefix: prefix.to_owned(),
            of: PhantomData,
        })
    }

    async fn run(&self, command: redis::Cmd) -> Result<Value> {
        let answers = self.client.ask(vec![command], ANSWER).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> CacheStore<T> for RedisStore<T> {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry<T>>>> {
        async move {
            let mut get = redis::cmd("GET");
            get.arg(format!("{}{key}", self.prefix));
            Ok(match self.run(get).await? {
                Value::BulkString(bytes) => decode(&bytes),
                _ => None,
            })
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a str, entry: Entry<T>) -> BoxFuture<'a, Result<bool>> {
        async move {
            let mut put = redis::cmd("EVAL");
            put.arg(PUT).arg(1).arg(format!("{}{key}", self.prefix));
            put.arg(encode(&entry, VALUE_BYTES_MAX)?);
            let keep = u64::try_from(entry.keep.as_millis()).unwrap_or(u64::MAX);
            put.arg(keep.clamp(1, i64::MAX as u64 / 4));
            Ok(self.run(put).await? == Value::Int(1))
        }
        .boxed()
    }
}

impl<T> fmt::Debug for RedisStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("client", &self.client)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
