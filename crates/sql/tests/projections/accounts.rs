//! Accounts whose balances a projection adds up: a second application, or a missing one, shows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::engine::Query;
use ensue::prelude::*;
use ensue::{Failure, Position};
use ensue_sql::{Projection, RunningProjection, Sql};
use sqlx::Pool;

use crate::database::Kind;

/// Far longer than anything takes that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Event, Serialize, Deserialize, Clone)]
#[event(type = "money.moved", topic = "transfers", key = account)]
pub(crate) struct Moved {
    pub(crate) account: String,
    pub(crate) cents: i64,
}

/// What the projection's methods do besides.
#[derive(Clone, Default)]
pub(crate) struct Tricks {
    /// Amounts that cannot be applied at present.
    pub(crate) refused: Arc<Mutex<Vec<i64>>>,
    /// How many more times any of them is refused; 0 is for ever.
    pub(crate) times: Arc<AtomicI64>,
    /// Whether all of the transaction is undone then, as MySQL does to end a deadlock.
    pub(crate) undoes: Arc<AtomicBool>,
    /// Whether a statement without end is begun instead.
    pub(crate) hangs: Arc<AtomicBool>,
}

impl Tricks {
    pub(crate) fn refuse(&self, cents: i64) {
        self.refused.lock().unwrap().push(cents);
    }

    pub(crate) fn relent(&self) {
        self.refused.lock().unwrap().clear();
    }

    fn check(&self, cents: i64) -> Result<(), Failure> {
        let mut refused = self.refused.lock().unwrap();
        if !refused.contains(&cents) {
            return Ok(());
        }
        if self.times.fetch_sub(1, Ordering::Relaxed) == 1 {
            refused.clear();
        }
        Err(Failure::retry(format!("{cents} is refused")))
    }
}

pub(crate) struct Balances(pub(crate) Tricks);

impl Balances {
    pub(crate) async fn moved<DB: Kind>(
        &self,
        sql: &mut Sql<DB>,
        event: Moved,
    ) -> Result<(), Failure> {
        DB::add(sql, &event.account, event.cents).await?;
        // After it has written: that is undone.
        let checked = self.0.check(event.cents);
        if checked.is_err() && self.0.undoes.load(Ordering::Relaxed) {
            DB::run(sql, "ROLLBACK").await?;
        }
        if checked.is_err() && self.0.hangs.load(Ordering::Relaxed) {
            DB::rows(sql, DB::HANG, []).await?;
        }
        checked
    }
}

/// The projection, as the tests run it.
pub(crate) fn balances<DB: Kind>(pool: &Pool<DB>, tricks: &Tricks) -> Projection<Balances, DB>
where
    Balances: Moves<DB>,
{
    let projection = Projection::new("balances", pool.clone(), Balances(tricks.clone()))
        .table("balances", DB::CREATE)
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .takeover(Duration::from_millis(300));
    <Balances as Moves<DB>>::on(projection)
}

/// The method for each kind of database.
pub(crate) trait Moves<DB: Kind>: Sized {
    fn on(projection: Projection<Self, DB>) -> Projection<Self, DB>;
}

macro_rules! moves {
    ($($database:ty)+) => {$(
        impl Moves<$database> for Balances {
            fn on(projection: Projection<Self, $database>) -> Projection<Self, $database> {
                projection.on(Self::moved::<$database>)
            }
        }
    )+};
}

moves! { sqlx::Sqlite sqlx::Postgres sqlx::MySql }

/// Publishes `count` movements at random; the last one's position.
pub(crate) async fn publish(engine: &Engine, count: usize) -> Position {
    let publisher = engine.publisher("/test");
    let mut last = Position::ZERO;
    for chunk in (0..count).collect::<Vec<_>>().chunks(50) {
        let events = chunk.iter().map(|_| Moved {
            account: format!("a-{}", fastrand::u8(..20)),
            cents: fastrand::i64(-500..=500),
        });
        let appended = publisher
            .publish_all(events.collect::<Vec<_>>())
            .await
            .unwrap();
        last = appended.last().unwrap().position;
    }
    last
}

pub(crate) async fn publish_one(engine: &Engine, account: &str, cents: i64) -> Position {
    let account = account.to_owned();
    engine
        .publish(Moved { account, cents })
        .await
        .unwrap()
        .position
}

/// What the log makes of the accounts.
pub(crate) async fn fold(engine: &Engine) -> Vec<(String, i64, i64)> {
    let mut accounts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let query = Query {
        topics: Some("transfers".parse().unwrap()),
        ..Query::default()
    };
    let mut events = engine.read(query);
    while let Some(event) = events.next().await {
        if let Ok(event) = event.unwrap().envelope.decode::<Moved>() {
            let account = accounts.entry(event.account).or_default();
            account.0 += event.cents;
            account.1 += 1;
        }
    }
    let all = accounts.into_iter();
    all.map(|(account, (cents, moves))| (account, cents, moves))
        .collect()
}

/// Waits until the projection has the event, and compares its table with the log.
pub(crate) async fn verify<DB: Kind>(
    engine: &Engine,
    running: &RunningProjection<DB>,
    pool: &Pool<DB>,
    last: Position,
) {
    running.wait_until_applied(last, PATIENCE).await.unwrap();
    let group = running.group().await.unwrap();
    engine.settled([group.as_str()]).await.unwrap();
    assert_eq!(DB::balances(pool, "balances").await, fold(engine).await);
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    waited.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}
