//! Projections: as many rows as there are events, beside the same statements with the same rows.

use std::path::Path;
use std::time::Duration;

use ensue::Engine;
use ensue_sql::sqlx::{self, Pool};
use ensue_sql::{Database, Projection, Sql};

use super::Extent;
use super::databases::{Fresh, Kind, Way};
use super::orders::{OrderPlaced, order};
use super::sample::{Sample, in_turn};
use crate::Outcome;
use crate::meter::{Meter, Spent};

/// Rows of one transaction, on both sides.
const TRANSACTION_ROWS: usize = 1_000;
/// How often it is looked whether the last row is there.
const LOOK: Duration = Duration::from_millis(2);

/// A projection's methods, which write in one of the ways.
struct Orders(Way);

impl Orders {
    async fn placed<DB: Kind>(&self, sql: &mut Sql<DB>, order: OrderPlaced) -> sqlx::Result<()> {
        self.placed_many(sql, vec![order]).await
    }

    async fn placed_many<DB: Kind>(
        &self,
        sql: &mut Sql<DB>,
        orders: Vec<OrderPlaced>,
    ) -> sqlx::Result<()> {
        let table = sql.table("orders");
        DB::write(self.0, sql, &table, &orders).await
    }
}

pub(super) async fn measure<DB: Kind>(
    place: &Path,
    server: Option<&str>,
    extent: Extent,
    is_turned: bool,
) -> Outcome<Vec<Sample>> {
    let mut samples = Vec::new();
    for way in DB::WAYS {
        let count = match way {
            Way::Single => extent.single_rows,
            Way::Rows | Way::Copy => extent.rows,
        };
        let orders: Vec<OrderPlaced> = (0..count).map(order).collect();
        let log = place.join(format!("log-{}-{way:?}", DB::KIND));
        let engine = filled(&log, &orders).await?;
        let ours = projected::<DB>(*way, &engine, (place, server), count);
        let theirs = by_hand::<DB>(*way, (place, server), &orders);
        let (ours, theirs) = in_turn(is_turned, ours, theirs).await;
        let (ours, theirs) = (ours?, theirs?);
        engine.close().await?;
        std::fs::remove_dir_all(&log)?;
        samples.push(Sample {
            group: "Projections",
            name: format!("{}, {}", DB::TITLE, way.title()),
            unit: "rows/s",
            ours: ours.rate(count),
            details: vec![
                (
                    "CPU of this process, µs a row",
                    ours.processor_microseconds(count),
                ),
                ("without Ensue", theirs.processor_microseconds(count)),
            ],
            beside: vec![("the same rows without Ensue", theirs.rate(count))],
        });
    }
    Ok(samples)
}

/// A log with the orders.
async fn filled(log: &Path, orders: &[OrderPlaced]) -> Outcome<Engine> {
    let engine = Engine::open(&format!("embedded:{}", log.display())).await?;
    let publisher = engine.publisher("/bench");
    for some in orders.chunks(TRANSACTION_ROWS) {
        publisher.publish_all(some.iter().cloned()).await?;
    }
    Ok(engine)
}

/// From the start of the projection until the last row can be read.
async fn projected<DB: Kind>(
    way: Way,
    engine: &Engine,
    (place, server): (&Path, Option<&str>),
    count: usize,
) -> Outcome<Spent> {
    let database = Fresh::<DB>::create(place, server).await?;
    let create = format!("CREATE TABLE IF NOT EXISTS {{orders}} {}", DB::COLUMNS);
    let projection = Projection::new("bench", database.pool.clone(), Orders(way))
        .table("orders", &create)
        .batch_events_max(TRANSACTION_ROWS);
    let projection = match way {
        Way::Single => projection.on(Orders::placed::<DB>),
        Way::Rows | Way::Copy => projection.on_many(Orders::placed_many::<DB>),
    };
    let meter = Meter::start();
    let mut running = projection.start(engine).await?;
    loop {
        if has_last::<DB>(&database.pool, count).await {
            break;
        }
        tokio::select! {
            error = running.failed() => return Err(error.into()),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    let spent = meter.stop();
    running.stop().await?;
    check(&database.pool, "orders", count).await?;
    database.remove().await?;
    Ok(spent)
}

/// The same rows in as large transactions, and nothing else.
async fn by_hand<DB: Kind>(
    way: Way,
    (place, server): (&Path, Option<&str>),
    orders: &[OrderPlaced],
) -> Outcome<Spent> {
    let database = Fresh::<DB>::create(place, server).await?;
    let create = format!("CREATE TABLE plain {}", DB::COLUMNS);
    let mut connection = database.pool.acquire().await?;
    DB::run(&mut connection, create).await?;
    drop(connection);
    let meter = Meter::start();
    for some in orders.chunks(TRANSACTION_ROWS) {
        let mut transaction = database.pool.begin_with(DB::BEGIN).await?;
        DB::write(way, &mut transaction, "plain", some).await?;
        transaction.commit().await?;
    }
    let spent = meter.stop();
    check(&database.pool, "plain", orders.len()).await?;
    database.remove().await?;
    Ok(spent)
}

/// Whether the last row is there: one lane writes them in order. The view is not, at first.
async fn has_last<DB: Kind>(pool: &Pool<DB>, count: usize) -> bool {
    let look = async {
        let mut connection = pool.acquire().await?;
        let last = i64::try_from(count).unwrap_or(i64::MAX) - 1;
        let select = "SELECT number FROM orders WHERE number = ?";
        DB::rows(&mut connection, select, [last.into()]).await
    };
    look.await.is_ok_and(|rows| !rows.is_empty())
}

/// Every row is there, once.
async fn check<DB: Database>(pool: &Pool<DB>, table: &str, count: usize) -> Outcome<()> {
    let mut connection = pool.acquire().await?;
    let (rows, _) = DB::contents(&mut connection, table).await?;
    if usize::try_from(rows)? != count {
        return Err(format!("{table} has {rows} rows, expected {count}").into());
    }
    Ok(())
}
