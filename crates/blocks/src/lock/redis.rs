//! Locks in Redis: to save work, not to keep data right.

use std::sync::Arc;
use std::time::Duration;

use ensue_brokers::redis::Client;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::{Cmd, Value};

use super::error::{LockError, Result};
use super::held::Lock;
use super::keeper::{Asked, Claim, Fairness, LockGuarantees, LockKeeper, Purpose, pause};
use super::token::FencingToken;

/// How long those who wait leave the server alone: nothing tells them that a lock is free.
const POLLS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(80)];

/// The lock `KEYS[1]`, and the counter `KEYS[2]` of its tokens. `ARGV`: owner, lease in milliseconds. Gives the
/// token, or nothing when it is another's.
const ACQUIRE: &str = "\
local held = redis.call('GET', KEYS[1])
local owner, token = ARGV[1], nil
if held then
    if string.sub(held, 1, 36) ~= owner then return false end
    token = string.sub(held, 38)
else
    token = string.format('%020.0f', redis.call('INCR', KEYS[2]))
end
redis.call('SET', KEYS[1], owner .. ' ' .. token, 'PX', ARGV[2])
return token";

/// `ARGV`: owner, lease. 1 if it is still the owner's.
const RENEW: &str = "\
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 36) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

const RELEASE: &str = "\
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 36) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// `KEYS`: fence, what is written. `ARGV`: token, value. Texts of 20 digits compare as the numbers do.
const SET_FENCED: &str = "\
local seen = redis.call('GET', KEYS[1])
if seen and seen > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
return 1";

/// Locks in Redis.
///
/// *For efficiency only.* A replica that takes over may not have the lock, or the counter of its tokens: two
/// holders may have it, and a token may come twice. With one server, `appendfsync always` and no failover
/// nothing is lost; whether yours is so, a client cannot know. Use it where work that is done twice costs time;
/// where data is at stake, take another keeper.
///
/// Not fair: who asks first when a lock is free has it. Waiting is asking again, every 10 to 80 ms.
#[derive(Debug)]
pub struct RedisLocks {
    client: Arc<Client>,
}

impl RedisLocks {
    /// On the server of the URL, `redis://user:password@host:port/database?tls=true`. It is connected when a
    /// lock is asked for.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        let client = Arc::new(Client::new(url)?);
        Ok(Self { client })
    }

    /// The guard of data in the same Redis.
    pub fn fence(&self) -> RedisFence {
        RedisFence {
            client: self.client.clone(),
        }
    }

    async fn run(&self, script: &str, claim: &Claim, with_lease: bool) -> Result<Value> {
        let mut command = eval(script, &keys(claim.name()));
        command.arg(claim.owner().to_string());
        if with_lease {
            command.arg(claim.lease_millis());
        }
        Ok(self.client.ask_one(command).await?)
    }
}

/// In one slot of a cluster.
fn keys(name: &str) -> [String; 2] {
    [
        format!("ensue:lock:{{{name}}}"),
        format!("ensue:lock-token:{{{name}}}"),
    ]
}

fn eval(script: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

impl LockKeeper for RedisLocks {
    fn guarantees(&self) -> LockGuarantees {
        LockGuarantees {
            purpose: Purpose::Efficiency,
            fairness: Fairness::Any,
        }
    }

    fn ask<'a>(&'a self, claim: &'a Claim, _: bool) -> BoxFuture<'a, Result<Asked>> {
        async {
            let answer = self.run(ACQUIRE, claim, true).await?;
            let Value::BulkString(token) = answer else {
                return Ok(Asked::Taken);
            };
            let token = std::str::from_utf8(&token)
                .ok()
                .and_then(|it| it.parse().ok());
            let token = token.ok_or_else(|| strange(claim.name()))?;
            Ok(Asked::Held {
                token: FencingToken::new(token),
                lease: claim.lease(),
            })
        }
        .boxed()
    }

    fn turn<'a>(&'a self, _: &'a Claim) -> BoxFuture<'a, ()> {
        pause(POLLS)
    }

    fn renew<'a>(&'a self, claim: &'a Claim, _: FencingToken) -> BoxFuture<'a, Result<bool>> {
        async { Ok(self.run(RENEW, claim, true).await? == Value::Int(1)) }.boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<()>> {
        async { self.run(RELEASE, claim, false).await.map(drop) }.boxed()
    }
}

/// The guard of data in Redis: what was written with a token is not overwritten with a smaller one.
#[derive(Clone, Debug)]
pub struct RedisFence {
    client: Arc<Client>,
}

impl RedisFence {
    /// A guard of data in another Redis than that of the locks.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        let client = Arc::new(Client::new(url)?);
        Ok(Self { client })
    }

    /// Sets `key` to `value`, unless a later holder has written anything behind this lock's fence. In a cluster
    /// `key` has the hash tag `{NAME}` of the lock's name. Scripts of your own begin as this one does: compare
    /// the token with the key `ensue:fence:{NAME}`, which holds it with 20 digits, and keep it there.
    ///
    /// # Errors
    /// [`LockError::Fenced`], and what the server reports.
    pub async fn set(&self, lock: &Lock, key: &str, value: &[u8]) -> Result<()> {
        let name = lock.name();
        let keys = [format!("ensue:fence:{{{name}}}"), key.to_owned()];
        let mut command = eval(SET_FENCED, &keys);
        command.arg(lock.token().to_string()).arg(value);
        match self.client.ask_one(command).await? {
            Value::Int(1) => Ok(()),
            _ => Err(LockError::Fenced {
                name: name.to_owned(),
                token: lock.token().get(),
            }),
        }
    }
}

fn strange(name: &str) -> LockError {
    LockError::Invalid {
        what: "what Redis keeps of the lock",
        value: name.to_owned(),
        expected: "what Ensue has written; leave the keys `ensue:lock*` alone".to_owned(),
    }
}
