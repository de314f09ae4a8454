//! Handlers that write into real databases: their transactions apply once, however often they are called.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json` prints it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, ReplayState, Reset};
use ensue::prelude::*;
use ensue::{EventId, HandlerOptions, Start};
use ensue_sql::inbox::Inbox;
use ensue_sql::sqlx::pool::PoolOptions;
use ensue_sql::sqlx::{Connection, Pool};
use ensue_sql::{Cell, Database, Error};
use servers::Running;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.paid", topic = "orders", key = account)]
struct Paid {
    account: String,
    cents: i64,
}

/// A sum in a database, and the guard beside it.
struct Ledger<DB: Database> {
    pool: Pool<DB>,
    inbox: Inbox<DB>,
}

impl<DB: Database> Clone for Ledger<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            inbox: self.inbox.clone(),
        }
    }
}

impl<DB: Database> Ledger<DB> {
    async fn open(url: &str) -> Self {
        let pool = PoolOptions::<DB>::new().max_connections(8);
        let pool = pool.acquire_timeout(Duration::from_secs(600));
        let pool = pool.connect(url).await.unwrap();
        let tables = "CREATE TABLE ledger (cents BIGINT NOT NULL)";
        let mut connection = pool.acquire().await.unwrap();
        DB::run(&mut connection, tables).await.unwrap();
        DB::run(&mut connection, "INSERT INTO ledger (cents) VALUES (0)")
            .await
            .unwrap();
        drop(connection);
        let inbox = Inbox::open(&pool).await.unwrap();
        Self { pool, inbox }
    }

    /// What a handler does.
    async fn book(&self, paid: &Paid, context: &Context) -> ensue_sql::Result<bool> {
        let mut transaction = self.pool.begin_with(DB::BEGIN).await?;
        let is_first = self.inbox.once(&mut transaction, context).await?;
        if is_first {
            let update = "UPDATE ledger SET cents = cents + ?";
            DB::execute(&mut transaction, update, [paid.cents.into()]).await?;
        }
        transaction.commit().await?;
        Ok(is_first)
    }

    async fn sum(&self) -> i64 {
        let mut connection = self.pool.acquire().await.unwrap();
        let rows = DB::rows(&mut connection, "SELECT cents FROM ledger", [])
            .await
            .unwrap();
        match rows[0][0] {
            Cell::Integer(cents) => cents,
            ref other => panic!("{other:?}"),
        }
    }

    async fn guards(&self) -> usize {
        let mut connection = self.pool.acquire().await.unwrap();
        let rows = DB::rows(&mut connection, "SELECT pos FROM ensue_inbox", [])
            .await
            .unwrap();
        rows.len()
    }
}

async fn pay(engine: &Engine, payments: i64, accounts: i64) {
    for number in 0..payments {
        let account = format!("a-{}", number % accounts);
        engine.publish(Paid { account, cents: 1 }).await.unwrap();
    }
}

/// A handler that fails after its transaction has committed is called again, and changes nothing.
async fn an_attempt_after_a_commit_changes_nothing<DB: Database>(ledger: &Ledger<DB>) {
    let engine = Engine::open("memory:").await.unwrap();
    pay(&engine, 20, 3).await;
    let (own, calls) = (ledger.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let options =
        HandlerOptions::default().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let app =
        App::new(engine.clone()).on_with("ledger", options, move |paid: Paid, context: Context| {
            let (own, counted) = (own.clone(), counted.clone());
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                let is_first = own.book(&paid, &context).await?;
                match is_first {
                    true => Err(Failure::retry("the answer is lost")),
                    false => Ok(()),
                }
            }
        });
    let mut running = app.start().await.unwrap();
    running.settled().await.unwrap();
    running.stop().await.unwrap();
    assert!(calls.load(Ordering::Relaxed) >= 40, "each twice");
    assert_eq!(ledger.sum().await, 20);
    assert_eq!(ledger.guards().await, 3, "a row for each key");
}

/// Opens the log again, when what is left of the last process has let go of it.
async fn reopened(url: &str) -> Engine {
    loop {
        match Engine::open(url).await {
            Ok(engine) => return engine,
            Err(ensue::Error::Open(ensue::error::OpenError::Locked { .. })) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A process ends between the database's commit and the engine's, with several events of a key in flight.
async fn a_process_that_ends_in_between<DB: Database>(ledger: &Ledger<DB>) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().join("log").display());
    let engine = Engine::open(&url).await.unwrap();
    pay(&engine, 30, 2).await;
    engine.close().await.unwrap();
    drop(engine);
    let mut crashes = 0;
    loop {
        let engine = reopened(&url).await;
        let died = Arc::new(tokio::sync::Notify::new());
        let (own, dies) = (ledger.clone(), crashes < 3);
        let (abandoned, booked) = (engine.clone(), Arc::new(AtomicUsize::new(0)));
        let dying = died.clone();
        let app = App::new(engine.clone()).on_with(
            "ledger",
            HandlerOptions::default(),
            move |paid: Paid, context: Context| {
                let (own, engine, booked) = (own.clone(), abandoned.clone(), booked.clone());
                let dying = dying.clone();
                async move {
                    own.book(&paid, &context).await?;
                    // Ends without the engine's commit of what was booked last.
                    if dies && booked.fetch_add(1, Ordering::Relaxed) == 6 {
                        engine.abandon();
                        dying.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Ok::<(), Failure>(())
                }
            },
        );
        let mut running = app.start().await.unwrap();
        if !dies {
            running.settled().await.unwrap();
            running.stop().await.unwrap();
            break;
        }
        died.notified().await;
        crashes += 1;
        drop((running, engine));
    }
    assert_eq!(ledger.sum().await, 30);
}

/// A group that is moved back is handed everything again, and applies nothing; forgotten, it applies all.
async fn a_group_that_is_moved_back<DB: Database>(ledger: &Ledger<DB>) {
    let engine = Engine::open("memory:").await.unwrap();
    pay(&engine, 12, 3).await;
    let run = async || {
        let own = ledger.clone();
        let app = App::new(engine.clone()).on_with(
            "ledger",
            HandlerOptions::default(),
            move |paid: Paid, context: Context| {
                let own = own.clone();
                async move { own.book(&paid, &context).await.map(drop) }
            },
        );
        let mut running = app.start().await.unwrap();
        running.settled().await.unwrap();
        running.stop().await.unwrap();
    };
    run().await;
    let back = || Reset::to(Start::Earliest).state(ReplayState::Keep);
    engine.reset("ledger", back()).await.unwrap();
    run().await;
    assert_eq!(ledger.sum().await, 12);

    ledger.inbox.forget("ledger").await.unwrap();
    engine.reset("ledger", back()).await.unwrap();
    run().await;
    assert_eq!(ledger.sum().await, 24);
}

/// Low positions of another log are not taken for what was applied before.
async fn another_log_is_noticed<DB: Database>(ledger: &Ledger<DB>) {
    for payments in [9, 4] {
        let engine = Engine::open("memory:").await.unwrap();
        pay(&engine, payments, 1).await;
        let own = ledger.clone();
        // The process that meets the other log is another one.
        let own = Ledger {
            inbox: Inbox::attach(&own.pool),
            ..own
        };
        let options = HandlerOptions::default().attempts(1);
        let app = App::new(engine.clone()).on_with(
            "ledger",
            options,
            move |paid: Paid, context: Context| {
                let own = own.clone();
                async move { own.book(&paid, &context).await.map(drop) }
            },
        );
        let mut running = app.start().await.unwrap();
        running.settled().await.unwrap();
        running.stop().await.unwrap();
        let dead = engine
            .dead_letters(Some("ledger"), DeadLetterFilter::default())
            .await;
        let dead = dead.unwrap();
        match payments {
            9 => assert!(dead.is_empty()),
            _ => assert!(
                dead[0].reason.contains("not in this log"),
                "{}",
                dead[0].reason
            ),
        }
    }
    assert_eq!(ledger.sum().await, 9);
}

/// Two transactions for one event at the same time, of an owner that was taken for dead and of the next: the
/// second waits, and is the first if that gives up.
async fn two_at_a_time<DB: Database>(ledger: &Ledger<DB>, commits: bool) {
    let engine = Engine::open("memory:").await.unwrap();
    pay(&engine, 2, 1).await;
    let own = ledger.clone();
    let app = App::new(engine.clone()).on_with(
        "ledger",
        HandlerOptions::default(),
        move |_: Paid, context: Context| {
            let own = own.clone();
            async move {
                let mut zombie = own.pool.begin_with(DB::BEGIN).await?;
                assert!(own.inbox.once(&mut zombie, &context).await?);
                let second = async {
                    let mut next = own.pool.begin_with(DB::BEGIN).await?;
                    let is_first = own.inbox.once(&mut next, &context).await?;
                    next.commit().await?;
                    Ok::<_, ensue_sql::Error>(is_first)
                };
                let mut second = std::pin::pin!(second);
                let moment = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
                assert!(moment.is_err(), "it waits");
                match commits {
                    true => zombie.commit().await?,
                    false => zombie.rollback().await?,
                }
                assert_eq!(second.await?, !commits);
                Ok::<(), Failure>(())
            }
        },
    );
    let mut running = app.start().await.unwrap();
    running.settled().await.unwrap();
    running.stop().await.unwrap();
    let dead = engine
        .dead_letters(None, DeadLetterFilter::default())
        .await
        .unwrap();
    assert!(dead.is_empty(), "{dead:?}");
}

/// Events that come in no order go by their ids, until they are old.
async fn by_id<DB: Database>(ledger: &Ledger<DB>) {
    let once = async |group: &str, id: &str| {
        let mut transaction = ledger.pool.begin_with(DB::BEGIN).await.unwrap();
        let event = EventId::new("/shop", id);
        let once = ledger
            .inbox
            .once_by_id(&mut transaction, group, &event)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        once
    };
    assert!(once("g", "2").await && once("g", "1").await && once("h", "1").await);
    assert!(!once("g", "1").await && !once("g", "2").await);
    let hour = Duration::from_secs(3_600);
    assert_eq!(ledger.inbox.forget_older(hour).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(ledger.inbox.forget_older(Duration::ZERO).await.unwrap(), 3);
    assert!(once("g", "1").await);
}

/// MySQL would cut the names of groups, and take two for one.
async fn a_name_that_is_too_long_is_refused<DB: Database>(ledger: &Ledger<DB>) {
    let once = async |group: &str| {
        let mut transaction = ledger.pool.begin_with(DB::BEGIN).await.unwrap();
        let event = EventId::new("/shop", "1");
        let once = ledger
            .inbox
            .once_by_id(&mut transaction, group, &event)
            .await;
        transaction.commit().await.unwrap();
        once
    };
    let long = "g".repeat(200);
    assert!(once(&long).await.unwrap());
    for longer in ["1", "2"].map(|end| format!("{long}{end}")) {
        let error = once(&longer).await.unwrap_err();
        assert!(matches!(error, Error::GroupName { .. }), "{error}");
    }
}

/// All that holds in every database.
macro_rules! everything {
    ($ledger:expr) => {
        an_attempt_after_a_commit_changes_nothing(&$ledger.await).await;
        a_process_that_ends_in_between(&$ledger.await).await;
        a_group_that_is_moved_back(&$ledger.await).await;
        another_log_is_noticed(&$ledger.await).await;
        by_id(&$ledger.await).await;
        a_name_that_is_too_long_is_refused(&$ledger.await).await;
    };
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    use ensue_sql::sqlx::Sqlite;
    let directory = tempfile::tempdir().unwrap();
    let ledger = || async {
        let file = directory.path().join(format!("{:x}.db", fastrand::u64(..)));
        Ledger::<Sqlite>::open(&format!("sqlite:{}?mode=rwc", file.display())).await
    };
    everything!(ledger());
}

/// A database of its own.
async fn fresh<DB: Database>(server: &Running) -> Ledger<DB> {
    let name = format!("inbox_{:012x}", fastrand::u64(..) >> 16);
    let mut connection = <DB::Connection as Connection>::connect(&server.url)
        .await
        .unwrap();
    DB::run(&mut connection, format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let (before, _) = server.url.rsplit_once('/').unwrap();
    Ledger::open(&format!("{before}/{name}")).await
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    use ensue_sql::sqlx::Postgres;
    let Some(server) = Running::find("postgres") else {
        return;
    };
    everything!(fresh::<Postgres>(&server));
    two_at_a_time(&fresh::<Postgres>(&server).await, true).await;
    two_at_a_time(&fresh::<Postgres>(&server).await, false).await;
}

#[cfg(feature = "mysql")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb() {
    use ensue_sql::sqlx::MySql;
    let Some(server) = Running::find("mariadb") else {
        return;
    };
    everything!(fresh::<MySql>(&server));
    two_at_a_time(&fresh::<MySql>(&server).await, true).await;
    two_at_a_time(&fresh::<MySql>(&server).await, false).await;
}
