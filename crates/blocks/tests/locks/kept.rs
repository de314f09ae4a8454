//! Where locks are kept, and the guards there.

use std::sync::Arc;
use std::time::Duration;

use ensue::{Engine, Outgoing};
use ensue_blocks::lock::{
    EtcdLocks, Lock, LockError, LockKeeper, Locks, LogLocks, PostgresLocks, RedisLocks,
    ZooKeeperLocks, guard,
};
use serde::{Deserialize, Serialize};
use servers::Running;

/// The shortest that all keepers have: etcd has whole seconds, from 2.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// Only what hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Locks of one kind on a server, whose names no other test has.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) kind: &'static str,
    pub(crate) url: String,
    pub(crate) prefix: String,
}

const KINDS: [&str; 5] = ["log", "redis", "postgres", "etcd", "zookeeper"];

#[derive(Debug, ensue::Event, Serialize, Deserialize)]
#[event(type = "thing.written", topic = "things", key = 0)]
struct Written(String, String);

impl Kept {
    /// The server that keeps them.
    pub(crate) fn server_of(kind: &str) -> &str {
        match kind {
            "log" => "redis",
            kind => kind,
        }
    }

    pub(crate) fn on(kind: &'static str, server: &Running) -> Self {
        let prefix = format!("test-{:016x}", fastrand::u64(..));
        let url = match kind {
            "log" => format!("{}?namespace={prefix}&connect_timeout=10m", server.url),
            _ => server.url.clone(),
        };
        Self { kind, url, prefix }
    }

    /// What another process was told.
    pub(crate) fn again(kind: &str, url: String, prefix: String) -> Self {
        let kind = KINDS.into_iter().find(|it| *it == kind).unwrap();
        Self { kind, url, prefix }
    }

    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}/{of}", self.prefix)
    }

    /// The locks as a process of their own has them.
    pub(crate) async fn open(&self) -> Held {
        let url = &self.url;
        match self.kind {
            "log" => {
                let copy = tempfile::tempdir().unwrap();
                let own = format!("{url}&replica={}", copy.path().display());
                let engine = Engine::open(&own).await.unwrap();
                let keeper = Arc::new(LogLocks::new(&engine));
                Held::new(keeper.clone(), Guard::Log(keeper, engine, copy))
            }
            "redis" => {
                let keeper = Arc::new(RedisLocks::new(url).unwrap());
                Held::new(keeper.clone(), Guard::Redis(keeper))
            }
            "postgres" => {
                let keeper = Arc::new(PostgresLocks::new(url).unwrap());
                Held::new(keeper, Guard::Postgres(url.clone()))
            }
            "etcd" => {
                let keeper = Arc::new(EtcdLocks::new(url).unwrap());
                Held::new(keeper.clone(), Guard::Etcd(keeper))
            }
            "zookeeper" => {
                let keeper = Arc::new(ZooKeeperLocks::new(url).unwrap());
                Held::new(keeper.clone(), Guard::ZooKeeper(keeper))
            }
            kind => panic!("no locks are kept in {kind}"),
        }
    }
}

/// Locks, and the guard of what they protect.
pub(crate) struct Held {
    pub(crate) locks: Locks,
    guard: Guard,
}

enum Guard {
    Log(
        Arc<LogLocks>,
        Engine,
        #[expect(dead_code, reason = "removed with it")] tempfile::TempDir,
    ),
    Redis(Arc<RedisLocks>),
    Postgres(String),
    Etcd(Arc<EtcdLocks>),
    ZooKeeper(Arc<ZooKeeperLocks>),
}

impl Held {
    fn new(keeper: Arc<dyn LockKeeper>, guard: Guard) -> Self {
        let locks = Locks::shared(keeper).lease(LEASE);
        Self { locks, guard }
    }

    /// Writes through the guard; whether that was let through.
    pub(crate) async fn write(&self, lock: &Lock, thing: &str, value: &str) -> bool {
        let written = match &self.guard {
            Guard::Log(keeper, ..) => {
                let written = Outgoing::new(Written(thing.to_owned(), value.to_owned()));
                keeper.append(lock, [written]).await.map(drop)
            }
            Guard::Redis(keeper) => {
                let fence = keeper.fence();
                fence.set(lock, thing, value.as_bytes()).await
            }
            Guard::Postgres(url) => write_in_sql(url, lock, thing, value).await,
            Guard::Etcd(keeper) => keeper.put(lock, thing, value.as_bytes()).await,
            Guard::ZooKeeper(keeper) => {
                let path = format!("/{}", thing.replace('/', "-"));
                keeper.set(lock, &path, value.as_bytes()).await
            }
        };
        match written {
            Ok(()) => true,
            Err(LockError::Fenced { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Ends a lease in the log, as its schedule does.
    pub(crate) async fn expire(&self, name: &str) {
        let Guard::Log(_, engine, _) = &self.guard else {
            panic!("it is not kept in the log");
        };
        let expired = ensue::Envelope::builder("locks", "lock.expired").key(name);
        engine.publish(Outgoing::raw(expired)).await.unwrap();
    }

    /// What was written last, where it can be read without the keeper.
    pub(crate) async fn read(&self, thing: &str) -> Option<String> {
        match &self.guard {
            Guard::Log(_, engine, _) => {
                let last = engine.last("things", thing).await.unwrap();
                last.map(|it| it.envelope.decode::<Written>().unwrap().1)
            }
            Guard::Postgres(url) => {
                let client = sql(url).await;
                let select = "SELECT value FROM things WHERE name = $1";
                let row = client.query_opt(select, &[&thing]).await.unwrap();
                row.map(|row| row.get(0))
            }
            _ => None,
        }
    }
}

pub(crate) async fn sql(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let make = "SELECT pg_advisory_lock(7); CREATE TABLE IF NOT EXISTS things \
                (name text PRIMARY KEY, value text NOT NULL);";
    client.batch_execute(make).await.unwrap();
    client.batch_execute(guard::MAKE_FENCES).await.unwrap();
    client
        .batch_execute("SELECT pg_advisory_unlock(7)")
        .await
        .unwrap();
    client
}

/// As a program does with a database of its own; and the check of the lock's row must say the same, unless the
/// lease ends between the two.
async fn write_in_sql(url: &str, lock: &Lock, thing: &str, value: &str) -> Result<(), LockError> {
    let mut client = sql(url).await;
    let transaction = client.transaction().await.unwrap();
    let token = lock.token().to_i64();
    let claim: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&lock.name(), &token];
    let held = transaction.query(PostgresLocks::CHECK_HELD, &claim).await;
    let claimed = transaction.query(guard::CLAIM_FENCE, &claim).await.unwrap();
    if claimed.is_empty() {
        assert!(held.unwrap().is_empty(), "it was held by another");
        return Err(LockError::Fenced {
            name: lock.name().to_owned(),
            token: lock.token().get(),
        });
    }
    let write = "INSERT INTO things VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
    transaction.execute(write, &[&thing, &value]).await.unwrap();
    transaction.commit().await.unwrap();
    Ok(())
}
