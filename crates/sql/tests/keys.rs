//! Keys of what is personal in real databases.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json` prints it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use ensue::error::{Error, PersonalError};
use ensue::prelude::*;
use ensue::{Disclosure, KeyLookup, KeyStore, Personal, SubjectKey};
use ensue_sql::sqlx::Pool;
use ensue_sql::sqlx::pool::PoolOptions;
use ensue_sql::{Cell, Database, SqlKeys, sqlx};
use servers::Running;

/// Longer than anything takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "user.registered", topic = "users", key = user)]
struct Registered {
    user: String,
    #[event(personal = user)]
    email: Personal<String>,
}

fn registered(user: &str) -> Registered {
    Registered {
        user: user.to_owned(),
        email: format!("{user}@example.org").into(),
    }
}

fn key(lookup: KeyLookup) -> SubjectKey {
    match lookup {
        KeyLookup::Key(key) => key,
        other => panic!("{other:?}"),
    }
}

async fn open<DB: Database>(url: &str) -> Pool<DB> {
    let pool = PoolOptions::<DB>::new().max_connections(8);
    pool.acquire_timeout(PATIENCE).connect(url).await.unwrap()
}

/// One key for all who ask first, also while others rotate; numbers without gaps; nothing after a forgetting.
async fn races<DB: Database>(pool: &Pool<DB>) {
    let [one, other] = [
        SqlKeys::open(pool).await.unwrap(),
        SqlKeys::open(pool).await.unwrap(),
    ];
    let asking = (0..16).map(|number| {
        let store = if number % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move { *key(store.newest("u-1").await.unwrap()).bytes() })
    });
    let mut found = BTreeSet::new();
    for asked in asking.collect::<Vec<_>>() {
        found.insert(asked.await.unwrap());
    }
    assert_eq!(found.len(), 1);
    let rotating = (0..8).map(|_| {
        let store = other.clone();
        tokio::spawn(async move { key(store.rotate("u-1").await.unwrap()).number() })
    });
    let mut numbers = BTreeSet::new();
    for rotated in rotating.collect::<Vec<_>>() {
        numbers.insert(rotated.await.unwrap());
    }
    assert!(numbers.into_iter().eq(2..=9));
    let first = key(one.key("u-1", 1).await.unwrap());
    assert!(found.contains(first.bytes()), "a key is never changed");
    assert!(matches!(
        one.key("u-1", 10).await.unwrap(),
        KeyLookup::Unknown
    ));
    // A subject is told from another by every byte.
    let others = ["U-1", "u-1 ", "ü-1"];
    for subject in others {
        assert_eq!(
            key(one.newest(subject).await.unwrap()).number(),
            1,
            "{subject:?}"
        );
    }
    // Whoever is faster, nothing is left, and nothing comes back.
    let changing = (0..8).map(|number| {
        let store = one.clone();
        tokio::spawn(async move {
            match number {
                3 | 6 => drop(store.forget("u-1").await.unwrap()),
                _ => drop(store.rotate("u-1").await.unwrap()),
            }
        })
    });
    for changed in changing.collect::<Vec<_>>() {
        changed.await.unwrap();
    }
    assert_eq!(one.forget("u-1").await.unwrap(), 0);
    for lookup in [
        one.newest("u-1").await.unwrap(),
        other.rotate("u-1").await.unwrap(),
        other.key("u-1", 1).await.unwrap(),
    ] {
        assert!(matches!(lookup, KeyLookup::Forgotten), "{lookup:?}");
    }
    let mut connection = pool.acquire().await.unwrap();
    let secrets = "SELECT secrets FROM ensue_keys WHERE subject = 'u-1'";
    let rows = DB::rows(&mut connection, secrets, []).await.unwrap();
    let is_empty = matches!(&rows[0][0], Cell::Text(text) if text.is_empty());
    assert!(is_empty, "{rows:?}");
    drop(connection);
    // One that never had a key gets none.
    assert_eq!(one.forget("u-9").await.unwrap(), 0);
    assert!(matches!(
        one.newest("u-9").await.unwrap(),
        KeyLookup::Forgotten
    ));
    for subject in others {
        assert_eq!(
            key(one.newest(subject).await.unwrap()).number(),
            1,
            "{subject:?}"
        );
    }
}

async fn seals_and_forgets<DB: Database>(pool: &Pool<DB>) {
    let open = async || {
        let engine = Engine::open("memory:").await.unwrap();
        let keys = SqlKeys::open(pool).await.unwrap();
        engine.with_keys(keys).unwrap()
    };
    let engine = open().await;
    engine.publish(registered("p-1")).await.unwrap();
    assert_eq!(engine.rotate_keys("p-1").await.unwrap(), 2);
    let stored = engine.last("users", "p-1").await.unwrap().unwrap().envelope;
    let read = async |engine: &Engine| {
        let mut event: Registered = stored.decode().unwrap();
        engine.unmask_event(&mut event).await.unwrap();
        match event.email.disclosure() {
            Disclosure::Known(email) => Some(email.clone()),
            Disclosure::Forgotten => None,
            Disclosure::Masked => panic!("the key is not there"),
        }
    };
    // Another process with the same keys.
    let other = open().await;
    assert_eq!(read(&other).await.as_deref(), Some("p-1@example.org"));
    assert_eq!(
        other.forget("p-1", PATIENCE).await.unwrap().keys_destroyed,
        2
    );
    assert_eq!(read(&other).await, None);
    assert_eq!(read(&open().await).await, None);
    let error = open().await.publish(registered("p-1")).await.unwrap_err();
    let is_forgotten = matches!(error, Error::Personal(PersonalError::Forgotten { .. }));
    assert!(is_forgotten, "{error}");
    pool.close().await;
    let error = open_closed(pool).await;
    assert!(
        error.contains("nothing was written in the clear"),
        "{error}"
    );
}

/// What is said when the database is away.
async fn open_closed<DB: Database>(pool: &Pool<DB>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let sqlite: Pool<sqlx::Sqlite> = open(&format!("sqlite:{}?mode=rwc", path.display())).await;
    let keys = SqlKeys::open(&sqlite).await.unwrap();
    assert!(pool.is_closed());
    sqlite.close().await;
    let engine = Engine::open("memory:")
        .await
        .unwrap()
        .with_keys(keys)
        .unwrap();
    engine
        .publish(registered("p-2"))
        .await
        .unwrap_err()
        .to_string()
}

async fn all<DB: Database>(url: &str) {
    let pool = open::<DB>(url).await;
    races(&pool).await;
    seals_and_forgets(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    all::<sqlx::Sqlite>(&format!("sqlite:{}?mode=rwc", path.display())).await;
}

/// In a database of its own, which is removed.
async fn on_server<DB: Database>(name: &str) {
    let Some(server) = Running::find(name) else {
        return;
    };
    let database = format!("keys_{:016x}", fastrand::u64(..));
    let pool = open::<DB>(&server.url).await;
    let mut connection = pool.acquire().await.unwrap();
    let create = format!("CREATE DATABASE {database}");
    DB::run(&mut connection, create).await.unwrap();
    let (before, _) = server.url.rsplit_once('/').unwrap();
    all::<DB>(&format!("{before}/{database}")).await;
    let drop = format!("DROP DATABASE {database}");
    DB::run(&mut connection, drop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_keys() {
    on_server::<sqlx::Postgres>("postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_keys() {
    on_server::<sqlx::MySql>("mariadb").await;
}
