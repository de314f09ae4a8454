//! Projections: what events make of tables, each event once.
//!
//! A projection is a consumer with a position, which it keeps in the database that it writes to: rows and
//! position are one transaction, guarded by the old position and the owner's epoch.
//!
//! ```text
//! the log ──read in order──> lanes ──one transaction each──> rows + position
//!    └────── delivery ──> group: waits for the database, tries alone what was put aside
//! ```
//!
//! In reading order: [`handle`] (methods), `definition`, `names`, [`sql`] (what a method gets); `position` and
//! `version` (the rows), `restored`, `lane` (transactions), `feed` (reading), `group` (the engine's side),
//! `switch` (views), `compare`, `term` (one owner), `build` (taking over), [`running`], [`operator`].

mod build;
mod compare;
mod definition;
mod feed;
mod group;
mod handle;
mod lane;
mod names;
mod operator;
mod position;
mod restored;
mod running;
mod sql;
mod switch;
mod term;
mod version;

use std::time::Duration;

pub use ensue::Applied;
use ensue::{Backoff, Engine, Event};
use sqlx::Pool;

pub use self::compare::{Comparison, Contents};
use self::definition::{Definition, Settings};
pub use self::handle::Apply;
use self::handle::Route;
pub use self::names::{PROJECTION_NAME_BYTES_MAX, TABLES_MAX};
pub use self::operator::{Projections, VersionStatus};
pub use self::running::{RunningProjection, wait_until_applied};
pub use self::sql::{Query, Sql};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::tables;

/// The most lanes of a projection.
pub const LANES_MAX: usize = 64;
/// The most events of one transaction, but for what comes with them from one page of the log.
pub const BATCH_EVENTS_MAX: usize = 10_000;

/// A projection: methods that apply events to tables, each event once.
///
/// The rows that a method writes and the projection's position are committed together. Whatever happens (a
/// crash, a restart, two programs that run it, a group that is moved back, a database that is put back to a
/// backup), the tables are what the events in the log make of them: none is applied twice, none is skipped.
///
/// ```no_run
/// use ensue::prelude::*;
/// use ensue_sql::sqlx::{PgPool, Postgres};
/// use ensue_sql::{Projection, Sql, sqlx};
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreated { order_id: String, cents: i64 }
///
/// struct Orders;
///
/// impl Orders {
///     async fn created(&self, sql: &mut Sql<Postgres>, order: OrderCreated) -> sqlx::Result<()> {
///         let insert = sql.query("INSERT INTO {orders} (id, cents) VALUES ($1, $2)");
///         insert.bind(order.order_id).bind(order.cents).execute(&mut **sql).await?;
///         Ok(())
///     }
/// }
///
/// # async fn run() -> anyhow::Result<()> {
/// let engine = Engine::open("embedded:./data").await?;
/// let pool = PgPool::connect("postgres://localhost/shop").await?;
/// let running = Projection::new("orders", pool, Orders)
///     .table("orders", "CREATE TABLE IF NOT EXISTS {orders} (id TEXT PRIMARY KEY, cents BIGINT)")
///     .on(Orders::created)
///     .start(&engine)
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Order and parallelism
///
/// Events are applied in the order of the log, in one *lane*, or in as many as [`lanes`](Self::lanes) says: then
/// events of one key keep their order, whatever their topics, and those of different keys are applied in
/// parallel, in transactions of their own.
///
/// # Failures
///
/// An event that cannot be applied is undone behind a savepoint, and the rest of its batch commits. It is tried
/// again, alone; after the last attempt it is a dead letter of the projection's group, like any other: `ensue
/// dead list`, `ensue dead redrive`. Later events of its topic and key wait behind it.
///
/// A database that is away is no event's fault: it is waited for.
#[must_use = "a projection does nothing until it is started"]
pub struct Projection<P, DB: Database> {
    definition: Definition<P, DB>,
}

impl<P: Send + Sync + 'static, DB: Database> Projection<P, DB> {
    /// A projection named `name`, whose methods are those of `projection`. The pool is the program's: a lane
    /// takes one connection of it at a time, and each version one more now and then.
    pub fn new(name: &str, pool: Pool<DB>, projection: P) -> Self {
        Self {
            definition: Definition {
                name: name.to_owned(),
                revision: 1,
                pool,
                projection,
                routes: Vec::new(),
                tables: Vec::new(),
                create: Vec::new(),
                settings: Settings::default(),
            },
        }
    }

    /// Adds a table of the projection's, and what creates it unless it is there (`CREATE TABLE IF NOT EXISTS
    /// {orders} (…)`; indexes are further statements, separated by `;`). In statements it is `{orders}`, in the
    /// database `orders_v1`, `orders_v2`, … for each version; `orders` is a view of the version that is
    /// read.
    ///
    /// A projection whose tables are not declared writes where it likes, and has no versions to compare or to
    /// switch between.
    pub fn table(mut self, table: &str, create: &str) -> Self {
        self.definition.tables.push(table.to_owned());
        self.definition.create.push(create.to_owned());
        self
    }

    /// Adds a method that applies events of type `E`, one at a time.
    pub fn on<E, F>(mut self, method: F) -> Self
    where
        E: Event,
        F: for<'a> Apply<'a, P, DB, E> + 'static,
    {
        self.definition.routes.push(Route::one(method));
        self
    }

    /// Adds a method that applies events of type `E`, as many at a time as follow each other: its last
    /// parameter is a `Vec<E>`, for statements of many rows. Where one of them cannot be applied, they come one
    /// by one.
    pub fn on_many<E, F>(mut self, method: F) -> Self
    where
        E: Event,
        F: for<'a> Apply<'a, P, DB, Vec<E>> + 'static,
    {
        self.definition.routes.push(Route::many(method));
        self
    }

    /// Which code this is, from 1 (the default). Raise it when what the methods make of events changes: the
    /// program then builds a new version beside the one that is read, which goes on to be read, and to be
    /// built by programs with the older code, until `ensue projection switch`.
    pub fn revision(mut self, revision: u32) -> Self {
        self.definition.revision = revision.into();
        self
    }

    /// How many lanes a new version has, 1 (the default) to [`LANES_MAX`]. More are faster where the database
    /// takes several transactions at once; SQLite does not. A version keeps the number that it began with.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.definition.settings.lanes = lanes;
        self
    }

    /// How many events one transaction applies, 1 to [`BATCH_EVENTS_MAX`]; as many as have come, nobody waits
    /// for more. Default: 1,000.
    pub fn batch_events_max(mut self, events: usize) -> Self {
        self.definition.settings.batch_events_max = events;
        self
    }

    /// How many times an event that cannot be applied is tried alone before it is a dead letter. Default: 5.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.definition.settings.attempts = attempts;
        self
    }

    /// How long to wait between these attempts. Default: from 200 ms to 30 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.definition.settings.backoff = Backoff::new(min, max);
        self
    }

    /// How long one call of a method may take. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.definition.settings.timeout = timeout;
        self
    }

    /// How long an owner in another process may say nothing before this one takes over. Default: 10 s. It
    /// decides how fast that goes, never whether an event is applied twice. An engine that one process
    /// owns (`embedded:`) has nobody to wait for.
    pub fn takeover(mut self, takeover: Duration) -> Self {
        self.definition.settings.takeover = takeover;
        self
    }

    /// Starts it, in the background: registers it in the database, whose `ensue_` tables are created unless
    /// they are there, and builds every version that this code is for.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::Projection`] when it contradicts itself, and what the database reports.
    /// Nothing runs then.
    pub async fn start(self, engine: &Engine) -> Result<RunningProjection<DB>> {
        self.check(engine)?;
        let definition = self.definition;
        tables::create(&definition.pool).await?;
        for again in [true, false] {
            match register(&definition).await {
                // Another program has registered it at the same time.
                Err(Error::Database(sqlx::Error::Database(_))) if again => {}
                registered => {
                    registered?;
                    break;
                }
            }
        }
        Ok(RunningProjection::begin(definition, engine))
    }

    fn check(&self, engine: &Engine) -> Result<()> {
        let definition = &self.definition;
        names::check(&definition.name, "projection")?;
        for table in &definition.tables {
            names::check(table, "table")?;
        }
        let settings = &definition.settings;
        let wrong = |problem: String| {
            Err(Error::Projection {
                projection: definition.name.clone(),
                problem,
            })
        };
        if definition.routes.is_empty() {
            return wrong("it applies nothing: give it a method with `on`".to_owned());
        }
        let twin = definition.routes.iter().enumerate().find(|(at, route)| {
            let before = definition.routes.iter().take(*at);
            before
                .into_iter()
                .any(|it| it.event == route.event && it.topics.overlaps(&route.topics))
        });
        if let Some((_, twin)) = twin {
            return wrong(format!("two methods apply `{}`: merge them", twin.event));
        }
        if definition.tables.len() > TABLES_MAX {
            return wrong(format!("it has more than {TABLES_MAX} tables"));
        }
        if !(1..=LANES_MAX).contains(&settings.lanes) {
            return wrong(format!(
                "{} lanes; allowed are 1 to {LANES_MAX}",
                settings.lanes
            ));
        }
        if !(1..=BATCH_EVENTS_MAX).contains(&settings.batch_events_max) {
            let given = settings.batch_events_max;
            return wrong(format!(
                "a batch of {given} events; allowed are 1 to {BATCH_EVENTS_MAX}"
            ));
        }
        let connections = definition.pool.options().get_max_connections();
        if connections < 2 {
            return wrong("its pool has one connection; it needs at least 2".to_owned());
        }
        tracing::debug!(
            engine = engine.url(),
            projection = definition.name,
            "starts"
        );
        Ok(())
    }
}

/// Sees to it that there is a version that this code builds.
async fn register<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
) -> Result<()> {
    let mut transaction = definition.pool.begin_with(DB::BEGIN).await?;
    let name = &definition.name;
    let all = version::versions::<DB>(&mut transaction, Some(name), true).await?;
    let is_ours = |it: &version::Version| it.revision == definition.revision && !it.is_retired;
    if !all.iter().any(is_ours) {
        let (revision, tables) = (definition.revision, &definition.tables);
        version::add::<DB>(&mut transaction, name, revision, tables, &all).await?;
    }
    transaction.commit().await?;
    Ok(())
}
