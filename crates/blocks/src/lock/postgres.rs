//! Locks in PostgreSQL: a row for each, by the database's clock.

use std::fmt;
use std::time::Duration;

use ensue_brokers::postgres::Client;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::error::Result;
use super::keeper::{Asked, Claim, Fairness, LockGuarantees, LockKeeper, Purpose, pause};
use super::token::FencingToken;

/// How long those who wait leave the database alone.
const POLLS: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(100)];

/// Two who make a table at the same time get in each other's way. Unlogged tables would forget in a crash.
const MAKE: &str = "DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('ensue_locks', 0)); \
     CREATE TABLE IF NOT EXISTS ensue_locks (name text PRIMARY KEY, token bigint NOT NULL, \
     owner text, until timestamptz NOT NULL); END $$";

/// Takes a row that is free, expired or ours, or makes it. A row that another session has locked at the moment is
/// passed over: who waited for it would hold up all that is asked in this session, renewals of other locks included.
const ACQUIRE: &str = "WITH free AS (SELECT name FROM ensue_locks WHERE name = $1 \
     AND (owner IS NULL OR until <= clock_timestamp() OR owner = $2) FOR UPDATE SKIP LOCKED), \
     taken AS (UPDATE ensue_locks AS held SET owner = $2, \
     until = clock_timestamp() + $3::bigint * interval '1 millisecond', \
     token = held.token + CASE WHEN held.owner = $2 AND held.until > clock_timestamp() \
     THEN 0 ELSE 1 END \
     FROM free WHERE held.name = free.name RETURNING held.token), \
     made AS (INSERT INTO ensue_locks (name, token, owner, until) \
     SELECT $1, 1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond' \
     WHERE NOT EXISTS (SELECT FROM ensue_locks WHERE name = $1) \
     ON CONFLICT (name) DO NOTHING RETURNING token) \
     SELECT token FROM taken UNION ALL SELECT token FROM made";

/// Goes through while a guarded transaction shares the row ([`PostgresLocks::CHECK_HELD`]), as the row's key stays.
const RENEW: &str = "UPDATE ensue_locks \
     SET until = clock_timestamp() + $4::bigint * interval '1 millisecond' \
     WHERE name = $1 AND owner = $2 AND token = $3 AND until > clock_timestamp() RETURNING token";

/// The row stays, for its token.
const RELEASE: &str =
    "UPDATE ensue_locks SET owner = NULL WHERE name = $1 AND owner = $2 RETURNING token";

/// Locks in PostgreSQL, in the table `ensue_locks`. What it has acknowledged is on disk, and a later holder has
/// a larger token; the database's clock alone ends leases.
///
/// Not fair: who asks first when a lock is free has it. Waiting is asking again, every 15 to 100 ms.
pub struct PostgresLocks {
    client: Client,
    made: OnceCell<()>,
}

impl PostgresLocks {
    /// The guard of data in the same database: run it in the transaction that writes, with the lock's name as
    /// `$1` and its token as `$2`. One row while the lock is held; no other can acquire it before the
    /// transaction ends, however long that takes, and it is renewed meanwhile. No row: roll back. For data elsewhere take [`guard`](super::guard).
    pub const CHECK_HELD: &str = "SELECT token FROM ensue_locks WHERE name = $1 AND token = $2 \
         AND owner IS NOT NULL AND until > clock_timestamp() FOR KEY SHARE";

    /// In the database of the URL, `postgres://user:password@host:port/database?tls=true`. It is connected, and
    /// the table made, when a lock is asked for.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self {
            client: Client::new(url)?,
            made: OnceCell::new(),
        })
    }

    async fn make(&self) -> Result<()> {
        let make = || self.client.run(MAKE);
        self.made.get_or_try_init(make).await?;
        Ok(())
    }
}

impl LockKeeper for PostgresLocks {
    fn guarantees(&self) -> LockGuarantees {
        LockGuarantees {
            purpose: Purpose::Correctness,
            fairness: Fairness::Any,
        }
    }

    fn ask<'a>(&'a self, claim: &'a Claim, _: bool) -> BoxFuture<'a, Result<Asked>> {
        async {
            self.make().await?;
            let (owner, lease) = (claim.owner().to_string(), claim.lease_millis());
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&claim.name(), &owner, &lease];
            let rows = self.client.query(ACQUIRE, &parameters).await?;
            let token = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
            Ok(match token.and_then(|token| u64::try_from(token).ok()) {
                None => Asked::Taken,
                Some(token) => Asked::Held {
                    token: FencingToken::new(token),
                    lease: claim.lease(),
                },
            })
        }
        .boxed()
    }

    fn turn<'a>(&'a self, _: &'a Claim) -> BoxFuture<'a, ()> {
        pause(POLLS)
    }

    fn renew<'a>(&'a self, claim: &'a Claim, token: FencingToken) -> BoxFuture<'a, Result<bool>> {
        async move {
            let (owner, lease) = (claim.owner().to_string(), claim.lease_millis());
            let token = token.to_i64();
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&claim.name(), &owner, &token, &lease];
            let rows = self.client.query(RENEW, &parameters).await?;
            Ok(!rows.is_empty())
        }
        .boxed()
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<()>> {
        async {
            self.make().await?;
            let owner = claim.owner().to_string();
            self.client.query(RELEASE, &[&claim.name(), &owner]).await?;
            Ok(())
        }
        .boxed()
    }
}

impl fmt::Debug for PostgresLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLocks")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
