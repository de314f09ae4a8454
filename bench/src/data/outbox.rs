//! The outbox: how fast a relay empties it, and how long a row waits for one that has nothing else to do.

use std::path::Path;
use std::time::{Duration, Instant};

use ensue::engine::{Append, Query};
use ensue::{Codec, Engine, Envelope};
use ensue_sql::outbox::Outbox;
use ensue_sql::sqlx::Pool;
use ensue_sql::{Cell, Value};

use super::Extent;
use super::databases::{Fresh, Kind};
use super::orders::{TOPIC, order};
use super::sample::{Sample, in_turn};
use crate::Outcome;
use crate::log::statistics::Latencies;
use crate::meter::{Meter, Spent};

/// Rows that are relayed together, on both sides.
const BATCH_ROWS: usize = 1_000;
/// Rows of one statement that fills the table.
const FILL_ROWS: usize = 500;
const TYPE: &str = "order.placed";
/// The longest pause between two rows whose wait is measured.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Only what hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure<DB: Kind>(
    place: &Path,
    server: Option<&str>,
    extent: Extent,
    is_turned: bool,
) -> Outcome<Vec<Sample>> {
    let count = extent.outbox_rows;
    let ours = relayed::<DB>(place, server, count);
    let theirs = looped::<DB>(place, server, count);
    let (ours, theirs) = in_turn(is_turned, ours, theirs).await;
    let (ours, theirs) = (ours?, theirs?);
    let mut samples = vec![Sample {
        group: "Outbox, relaying",
        name: DB::TITLE.to_owned(),
        unit: "rows/s",
        ours: ours.rate(count),
        details: vec![
            (
                "CPU of this process, µs a row",
                ours.processor_microseconds(count),
            ),
            ("the loop's", theirs.processor_microseconds(count)),
        ],
        beside: vec![("a loop: select, append, delete", theirs.rate(count))],
    }];
    for is_told in [true, false] {
        let mut waits = waits::<DB>(place, server, extent.waits, is_told).await?;
        let who = match is_told {
            true => "told by its own process",
            false => "written by another program",
        };
        samples.push(Sample {
            group: "Outbox, from commit to the engine, p50",
            name: format!("{}, {who}", DB::TITLE),
            unit: "µs",
            ours: waits.microseconds(0.5),
            details: vec![("p99 µs", waits.microseconds(0.99))],
            beside: Vec::new(),
        });
    }
    Ok(samples)
}

/// What both sides begin with.
struct Scene<DB: Kind> {
    database: Fresh<DB>,
    outbox: Outbox<DB>,
    engine: Engine,
    log: std::path::PathBuf,
}

impl<DB: Kind> Scene<DB> {
    async fn set_up(place: &Path, server: Option<&str>) -> Outcome<Self> {
        let database = Fresh::<DB>::create(place, server).await?;
        let log = place.join(format!("relayed-{:012x}", fastrand::u64(..) >> 16));
        Ok(Self {
            outbox: Outbox::open(&database.pool).await?,
            database,
            engine: Engine::open(&format!("embedded:{}", log.display())).await?,
            log,
        })
    }

    /// Rows as a program writes them that does not know Ensue.
    async fn fill(&self, count: usize) -> Outcome<()> {
        let mut connection = self.database.pool.acquire().await?;
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(FILL_ROWS) {
            let rows = vec!["(?, ?, ?, ?)"; some.len()].join(", ");
            let insert =
                format!("INSERT INTO ensue_outbox (topic, type, event_key, data) VALUES {rows}");
            let mut values = Vec::with_capacity(some.len() * 4);
            for number in some {
                let order = order(*number);
                let data = serde_json::to_vec(&order)?;
                values.extend([TOPIC.into(), TYPE.into(), order.customer.into()]);
                values.push(Value::Bytes(data));
            }
            DB::execute(&mut connection, insert, values).await?;
        }
        Ok(())
    }

    async fn tear_down(self, count: usize) -> Outcome<()> {
        let mut found = 0;
        let mut events = self.engine.read(Query {
            topics: Some(TOPIC.parse()?),
            ..Query::default()
        });
        while let Some(event) = events.next().await {
            event?;
            found += 1;
        }
        if found != count {
            return Err(format!("{found} of {count} rows are in the log").into());
        }
        self.engine.close().await?;
        std::fs::remove_dir_all(&self.log)?;
        self.database.remove().await
    }
}

async fn relayed<DB: Kind>(place: &Path, server: Option<&str>, count: usize) -> Outcome<Spent> {
    let scene = Scene::<DB>::set_up(place, server).await?;
    scene.fill(count).await?;
    let meter = Meter::start();
    scene.outbox.relay(&scene.engine).run_until_empty().await?;
    let spent = meter.stop();
    scene.tear_down(count).await?;
    Ok(spent)
}

/// What is there, appended, and then removed: a crash between the two repeats it.
async fn looped<DB: Kind>(place: &Path, server: Option<&str>, count: usize) -> Outcome<Spent> {
    let scene = Scene::<DB>::set_up(place, server).await?;
    scene.fill(count).await?;
    let meter = Meter::start();
    while relay_some(&scene.database.pool, &scene.engine).await? > 0 {}
    let spent = meter.stop();
    scene.tear_down(count).await?;
    Ok(spent)
}

async fn relay_some<DB: Kind>(pool: &Pool<DB>, engine: &Engine) -> Outcome<usize> {
    let mut connection = pool.acquire().await?;
    let select = format!(
        "SELECT id, event_id, topic, type, event_key, data FROM ensue_outbox ORDER BY id LIMIT {BATCH_ROWS}"
    );
    let rows = DB::rows(&mut connection, select, []).await?;
    let (mut last, mut appends) = (0, Vec::with_capacity(rows.len()));
    for row in rows {
        let [Cell::Integer(id), rest @ ..] = row.as_slice() else {
            return Err("a row without an id".into());
        };
        last = *id;
        let text = |cell: Option<&Cell>| match cell {
            Some(Cell::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let envelope = Envelope::builder(text(rest.get(1)), text(rest.get(2)))
            .id(text(rest.first()))
            .key(text(rest.get(3)))
            .source("/outbox")
            .payload(Codec::Json, text(rest.get(4)).into_bytes())
            .build()?;
        appends.push(Append::from(envelope));
    }
    let count = appends.len();
    if count > 0 {
        engine.append(appends).await?;
        let delete = "DELETE FROM ensue_outbox WHERE id <= ?";
        DB::execute(&mut connection, delete, [last.into()]).await?;
    }
    Ok(count)
}

/// From when a transaction has committed until its event can be read from the engine.
async fn waits<DB: Kind>(
    place: &Path,
    server: Option<&str>,
    count: usize,
    is_told: bool,
) -> Outcome<Latencies> {
    let scene = Scene::<DB>::set_up(place, server).await?;
    let relay = tokio::spawn(scene.outbox.relay(&scene.engine).run());
    let query = Query {
        topics: Some(TOPIC.parse()?),
        ..Query::default()
    };
    let mut events = scene.engine.read(query).follow();
    let mut waits = Latencies::default();
    for number in 0..count {
        tokio::time::sleep(PAUSE_MAX.mul_f64(fastrand::f64())).await;
        let mut transaction = scene.database.pool.begin_with(DB::BEGIN).await?;
        scene
            .outbox
            .publish(&mut transaction, order(number))
            .await?;
        transaction.commit().await?;
        let committed = Instant::now();
        if is_told {
            scene.outbox.committed();
        }
        let next = tokio::time::timeout(PATIENCE, events.next()).await?;
        next.ok_or("the engine is closed")??;
        waits.push(committed.elapsed());
    }
    drop(events);
    relay.abort();
    // It holds a connection until it has ended.
    let _ = relay.await;
    scene.tear_down(count).await?;
    Ok(waits)
}
