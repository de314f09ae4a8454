//! A program with a database of its own: accounts whose versions are counted, and an event for each version.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ensue::engine::Query;
use ensue::prelude::*;
use ensue_sql::outbox::Outbox;
use ensue_sql::sqlx::pool::PoolOptions;
use ensue_sql::sqlx::{Connection, Pool};
use ensue_sql::{Cell, Database, Value};

/// An engine that knows no ids: what is once is so because of the relay.
pub(crate) const ENGINE: &str = "memory:?dedup_window=0";
pub(crate) const TOPIC: &str = "moves";

/// The account has this version now.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.moved", topic = "moves", key = account)]
pub(crate) struct Moved {
    pub(crate) account: String,
    pub(crate) version: i64,
}

/// A database for one test.
pub(crate) struct Shop<DB: Database> {
    pub(crate) pool: Pool<DB>,
    pub(crate) outbox: Outbox<DB>,
}

/// What one transaction of a writer does before it commits.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// Writes something else first, so that it has begun before others that end earlier.
    pub(crate) begins_early: bool,
    /// How long it goes on after it has published.
    pub(crate) lingers: Duration,
    pub(crate) commits: bool,
}

/// A database of its own, made by way of the server's: its URL.
pub(crate) async fn fresh_url<DB: Database>(server: &str) -> String {
    let name = format!("outbox_{:012x}", fastrand::u64(..) >> 16);
    let mut connection = <DB::Connection as Connection>::connect(server)
        .await
        .unwrap();
    let create = format!("CREATE DATABASE {name}");
    DB::run(&mut connection, create).await.unwrap();
    let (before, _) = server.rsplit_once('/').unwrap();
    format!("{before}/{name}")
}

/// A file of its own.
pub(crate) fn sqlite_url(directory: &Path) -> String {
    format!("sqlite:{}?mode=rwc", directory.join("shop.db").display())
}

impl<DB: Database> Shop<DB> {
    pub(crate) async fn open(url: &str) -> Self {
        let pool = PoolOptions::<DB>::new().max_connections(12);
        let pool = pool.acquire_timeout(Duration::from_secs(600));
        let pool = pool.connect(url).await.unwrap();
        let key = DB::key_type(100);
        let mut connection = pool.acquire().await.unwrap();
        if DB::KIND == "sqlite" {
            let wal = "PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 600000";
            DB::run(&mut connection, wal).await.unwrap();
        }
        let tables = format!(
            "CREATE TABLE IF NOT EXISTS account (id {key} NOT NULL PRIMARY KEY, version BIGINT NOT NULL)"
        );
        DB::run(&mut connection, tables).await.unwrap();
        let noise = "CREATE TABLE IF NOT EXISTS noise (id BIGINT NOT NULL)";
        DB::run(&mut connection, noise).await.unwrap();
        drop(connection);
        let outbox = Outbox::open(&pool).await.unwrap().source("/shop");
        Self { pool, outbox }
    }

    pub(crate) async fn accounts(&self, count: usize) {
        let mut connection = self.pool.acquire().await.unwrap();
        for account in 0..count {
            let insert = format!("INSERT INTO account (id, version) VALUES ('a-{account}', 0)");
            DB::run(&mut connection, insert).await.unwrap();
        }
    }

    /// Moves an account on, and says so: in one transaction. The error is the database's.
    pub(crate) async fn move_on(&self, account: &str, terms: Terms) -> ensue_sql::Result<()> {
        let mut transaction = self.pool.begin_with(DB::BEGIN).await?;
        if terms.begins_early {
            DB::execute(&mut transaction, "INSERT INTO noise (id) VALUES (1)", []).await?;
            tokio::time::sleep(terms.lingers).await;
        }
        let update = "UPDATE account SET version = version + 1 WHERE id = ?";
        DB::execute(&mut transaction, update, [account.into()]).await?;
        let select = "SELECT version FROM account WHERE id = ?";
        let rows = DB::rows(&mut transaction, select, [account.into()]).await?;
        let moved = Moved {
            account: account.to_owned(),
            version: integer(&rows[0][0]),
        };
        self.outbox.publish(&mut transaction, moved).await?;
        tokio::time::sleep(terms.lingers).await;
        match terms.commits {
            true => transaction.commit().await?,
            false => transaction.rollback().await?,
        }
        self.outbox.committed();
        Ok(())
    }

    /// Writers move accounts on at the same time, on random terms, so many times each; what the database
    /// does not take while it is away they try again.
    pub(crate) async fn work(&self, writers: usize, accounts: usize, times: usize) {
        let writer = |_| async move {
            for _ in 0..times {
                let terms = Terms {
                    begins_early: fastrand::bool(),
                    lingers: Duration::from_micros(fastrand::u64(0..6_000)),
                    commits: fastrand::u8(..8) > 0,
                };
                let account = format!("a-{}", fastrand::usize(..accounts));
                while let Err(error) = self.move_on(&account, terms).await {
                    assert!(error.is_passing(), "{error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        futures_util::future::join_all((0..writers).map(writer)).await;
    }

    /// What became of the accounts.
    pub(crate) async fn versions(&self) -> BTreeMap<String, i64> {
        let rows = self
            .rows("SELECT id, version FROM account WHERE version > 0")
            .await;
        let read = |row: &Vec<Cell>| (text(&row[0]), integer(&row[1]));
        rows.iter().map(read).collect()
    }

    pub(crate) async fn rows(&self, select: &'static str) -> Vec<Vec<Cell>> {
        let mut connection = self.pool.acquire().await.unwrap();
        DB::rows(&mut connection, select, []).await.unwrap()
    }

    pub(crate) async fn run(&self, statement: &str, values: &[Value]) {
        let mut connection = self.pool.acquire().await.unwrap();
        let statement = statement.to_owned();
        DB::execute(&mut connection, statement, values)
            .await
            .unwrap();
    }

    /// What is in the log is what is in the database: each version of each account, once, in order; and
    /// nothing waits any more.
    pub(crate) async fn verify(&self, engine: &Engine) {
        let log = moves(engine).await;
        let expected = self.versions().await;
        let lasts: BTreeMap<String, i64> = log
            .iter()
            .map(|(account, versions)| (account.clone(), versions.len() as i64))
            .collect();
        assert_eq!(
            lasts, expected,
            "as many events as the accounts have versions"
        );
        for (account, versions) in &log {
            let in_order: Vec<i64> = (1..=versions.len() as i64).collect();
            assert_eq!(versions, &in_order, "{account}: once and in order");
        }
        let status = self.outbox.status().await.unwrap();
        assert_eq!((status.waiting, status.refused, status.behind), (0, 0, 0));
        assert_eq!(status.lag, None);
    }
}

/// The versions that the log has of each account, in its order.
pub(crate) async fn moves(engine: &Engine) -> BTreeMap<String, Vec<i64>> {
    let mut moves: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut events = engine.read(Query {
        topics: Some(TOPIC.parse().unwrap()),
        ..Query::default()
    });
    while let Some(event) = events.next().await {
        let moved: Moved = event.unwrap().envelope.decode().unwrap();
        moves.entry(moved.account).or_default().push(moved.version);
    }
    moves
}

pub(crate) fn integer(cell: &Cell) -> i64 {
    match cell {
        Cell::Integer(integer) => *integer,
        other => panic!("{other:?} is no integer"),
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}
