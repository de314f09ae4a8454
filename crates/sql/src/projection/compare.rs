//! Comparing two versions of a projection at one position.
//!
//! Both are kept from going beyond a position, until both are there. What is compared is read in one
//! transaction with the positions: the hold makes the comparison likely, the transaction makes it right.

use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection as _, Pool};
use tokio::time::Instant;

use super::names::{self, Names};
use super::position;
use super::switch::{BEHIND_MAX, reached};
use super::version::{self, Version};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::tables;

/// How often it is looked whether both are there.
const LOOK: Duration = Duration::from_millis(100);
/// How often the hold is renewed.
const RENEW: Duration = Duration::from_secs(3);

/// What a table holds in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// How many rows it has.
    pub rows: i64,
    /// A sum over them, in which their order does not count. It says nothing but whether it is the same.
    pub checksum: String,
}

/// Two versions of a projection at one position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The projection.
    pub projection: String,
    /// The two versions.
    pub versions: [i64; 2],
    /// Both have applied what comes before it in the log.
    pub position: i64,
    /// How many keys of each wait behind an event that could not be applied.
    pub aside: [usize; 2],
    /// Each table, and what it holds in each.
    pub tables: Vec<(String, [Contents; 2])>,
}

impl Comparison {
    /// Whether both hold the same.
    pub fn is_equal(&self) -> bool {
        self.tables
            .iter()
            .all(|(_, [first, second])| first == second)
    }
}

/// Compares two versions, within so much time: what waits for other comparisons of them included.
pub(super) async fn compare<DB: Database>(
    pool: &Pool<DB>,
    projection: &str,
    numbers: [i64; 2],
    within: Duration,
) -> Result<Comparison> {
    tables::create(pool).await?;
    let until = Instant::now() + within;
    let late = || Error::NotComparable {
        projection: projection.to_owned(),
        first: numbers[0],
        second: numbers[1],
        waited_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
    };
    let holding = hold_in_turn(pool, projection, numbers);
    let mut holds = match tokio::time::timeout_at(until, holding).await {
        Ok(holds) => holds?,
        Err(_) => return Err(late()),
    };
    let compared = tokio::time::timeout_at(until, held(pool, &mut holds)).await;
    let mut connection = pool.acquire().await?;
    for Hold { version, beat } in &holds {
        position::let_go::<DB>(&mut connection, &group(version), *beat).await?;
    }
    compared.unwrap_or_else(|_| Err(late()))
}

fn group(version: &Version) -> String {
    names::group(&version.projection, version.version)
}

/// A version that does not go on, as long as its beat is the last one.
struct Hold {
    version: Version,
    beat: i64,
}

impl Hold {
    /// Not yet.
    fn none(version: Version) -> Self {
        Self { version, beat: 0 }
    }
}

/// Keeps both where the one is that has come further, after the holder of one of them has let go, or has said
/// nothing for too long.
async fn hold_in_turn<DB: Database>(
    pool: &Pool<DB>,
    projection: &str,
    numbers: [i64; 2],
) -> Result<[Hold; 2]> {
    let mut seen = (Vec::new(), Instant::now());
    loop {
        let silent = (seen.1.elapsed() > position::HOLD_SILENCE).then_some(&seen.0);
        match hold(pool, projection, numbers, silent).await? {
            Ok(holds) => return Ok(holds),
            Err(beats) if beats != seen.0 => seen = (beats, Instant::now()),
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Keeps both where the one is that has come further. If another holds one of them, and not since these beats:
/// the beats of both.
async fn hold<DB: Database>(
    pool: &Pool<DB>,
    projection: &str,
    numbers: [i64; 2],
    silent: Option<&Vec<i64>>,
) -> Result<std::result::Result<[Hold; 2], Vec<i64>>> {
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let all = version::versions::<DB>(&mut transaction, Some(projection), false).await?;
    let mut holds = [
        Hold::none(version::find(all.clone(), projection, numbers[0])?),
        Hold::none(version::find(all, projection, numbers[1])?),
    ];
    let (mut to, mut is_held) = (0, false);
    let mut in_order: Vec<&mut Hold> = holds.iter_mut().collect();
    // The same for everyone: two that locked each other's would be a deadlock.
    in_order.sort_by_key(|hold| hold.version.version);
    for hold in in_order {
        let group = group(&hold.version);
        let lanes = position::locked_lanes::<DB>(&mut transaction, &group).await?;
        to = lanes.iter().map(|lane| lane.position).fold(to, i64::max);
        hold.beat = lanes.iter().map(|lane| lane.hold_beat).max().unwrap_or(0);
        is_held |= lanes.iter().any(|lane| lane.hold.is_some());
    }
    let beats = holds.iter().map(|hold| hold.beat).collect();
    if is_held && silent != Some(&beats) {
        transaction.rollback().await?;
        return Ok(Err(beats));
    }
    for Hold { version, beat } in &mut holds {
        let behind = to - reached::<DB>(&mut transaction, version).await?;
        if behind > BEHIND_MAX {
            return Err(Error::Behind {
                projection: projection.to_owned(),
                version: version.version,
                behind,
            });
        }
        if position::hold::<DB>(&mut transaction, &group(version), to, *beat).await? {
            *beat += 1;
        }
    }
    transaction.commit().await?;
    Ok(Ok(holds))
}

/// Waits until both are there, and reads them.
async fn held<DB: Database>(pool: &Pool<DB>, holds: &mut [Hold; 2]) -> Result<Comparison> {
    let mut renewed = Instant::now();
    loop {
        let versions = [&holds[0].version, &holds[1].version];
        if let Some(comparison) = read(pool, versions).await? {
            return Ok(comparison);
        }
        tokio::time::sleep(LOOK).await;
        if renewed.elapsed() > RENEW {
            renew(pool, holds).await?;
            renewed = Instant::now();
        }
    }
}

/// Says that both are to be held still. What was taken over meanwhile is another's; then the two may come to one
/// position by chance, or do not in time.
async fn renew<DB: Database>(pool: &Pool<DB>, holds: &mut [Hold; 2]) -> Result<()> {
    let mut connection = pool.acquire().await?;
    for Hold { version, beat } in holds {
        let group = group(version);
        let lanes = position::lanes::<DB>(&mut connection, &group).await?;
        if let Some(to) = lanes.iter().find_map(|lane| lane.hold)
            && position::hold::<DB>(&mut connection, &group, to, *beat).await?
        {
            *beat += 1;
        }
    }
    Ok(())
}

/// Both as they are at one moment, if they are at one position then.
async fn read<DB: Database>(
    pool: &Pool<DB>,
    versions: [&Version; 2],
) -> Result<Option<Comparison>> {
    let mut connection = pool.acquire().await?;
    if let Some(statement) = DB::BEFORE_SNAPSHOT {
        DB::run(&mut connection, statement).await?;
    }
    // It rolls back when it is dropped: a comparison that is late is dropped in here.
    let mut transaction = connection.begin_with(DB::BEGIN_SNAPSHOT).await?;
    let read = read_in_transaction::<DB>(&mut transaction, versions).await?;
    transaction.rollback().await?;
    Ok(read)
}

async fn read_in_transaction<DB: Database>(
    connection: &mut DB::Connection,
    [first, second]: [&Version; 2],
) -> Result<Option<Comparison>> {
    let mut at = None;
    let mut aside = [0; 2];
    for (version, aside) in [first, second].into_iter().zip(&mut aside) {
        let lanes = position::lanes::<DB>(connection, &group(version)).await?;
        let is_at_one = lanes
            .iter()
            .all(|lane| *at.get_or_insert(lane.position) == lane.position);
        if lanes.is_empty() || !is_at_one {
            return Ok(None);
        }
        *aside = position::aside::<DB>(connection, &group(version))
            .await?
            .len();
    }
    let mut tables = Vec::new();
    for table in first
        .tables
        .iter()
        .filter(|table| second.tables.contains(table))
    {
        let mut both = Vec::new();
        for version in [first, second] {
            let names = Names::new(&version.projection, version.version, &version.tables);
            let (rows, checksum) = DB::contents(connection, &names.table(table)).await?;
            both.push(Contents { rows, checksum });
        }
        if let Ok(both) = <[Contents; 2]>::try_from(both) {
            tables.push((table.clone(), both));
        }
    }
    Ok(at.map(|position| Comparison {
        projection: first.projection.clone(),
        versions: [first.version, second.version],
        position,
        aside,
        tables,
    }))
}
