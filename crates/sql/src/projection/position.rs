//! How far a consumer is, in the database: the rows that a transaction moves together with what it writes.
//!
//! A lane's row holds for every key of the lane. A key whose event could not be applied has a row of its own
//! until it has caught up; the lane passes it by.

use std::time::Duration;

use ensue::engine::Recorded;

use crate::database::{Database, Row, Value};
use crate::error::Result;
use crate::hash::fnv;
use crate::tables::{ASIDE, POSITION};

/// How long a hold counts whose holder says nothing more.
pub(super) const HOLD_SILENCE: Duration = Duration::from_secs(15);

/// The position of a lane, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LanePosition {
    pub(crate) lane: i64,
    /// What comes before it is in the database, but for keys that have a position of their own.
    pub(crate) position: i64,
    /// The newest owner that has written it.
    pub(crate) epoch: i64,
    /// How many owners have begun since it was moved last.
    pub(crate) claims: i64,
    /// The last event that was applied, and its mark: what tells one log from another.
    pub(crate) last: Option<(i64, i64)>,
    /// It does not go beyond this.
    pub(crate) hold: Option<i64>,
    /// Counts the signs of life of all holders: which hold it is.
    pub(crate) hold_beat: i64,
}

/// A key with a position of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) topic: String,
    pub(crate) key: String,
    /// What comes before it of this key is in the database, or was given up.
    pub(crate) position: i64,
    /// Behind the last event of the key that its lane has passed by.
    pub(crate) until: i64,
}

/// Who moves positions: a consumer's name, and its owner's epoch.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) name: String,
    pub(crate) epoch: i64,
}

/// A mark of an event: another event at the same place has another one.
pub(crate) fn mark(event: &Recorded) -> i64 {
    let parts = [event.envelope.source(), "\0", event.envelope.id()];
    let bytes = parts.iter().flat_map(|part| part.bytes());
    i64::from_ne_bytes(fnv(bytes).to_ne_bytes())
}

/// Which of so many lanes has a key: the same in every release, as rows are kept by it.
pub(crate) fn lane_of(key: &str, lanes: usize) -> usize {
    let hash = fnv(key.bytes());
    // Keys that differ in their last byte alone are to be in different lanes.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed % (lanes.max(1) as u64)).unwrap_or(0)
}

/// The lanes of a consumer, by number.
pub(crate) async fn lanes<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
) -> Result<Vec<LanePosition>> {
    read_lanes::<DB>(connection, name, "").await
}

/// The same, and nobody moves them before the transaction ends.
pub(crate) async fn locked_lanes<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
) -> Result<Vec<LanePosition>> {
    read_lanes::<DB>(connection, name, DB::FOR_UPDATE).await
}

async fn read_lanes<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
    lock: &str,
) -> Result<Vec<LanePosition>> {
    let statement = format!(
        "SELECT lane, pos, epoch, claims, last_pos, last_hash, hold, hold_beat FROM {POSITION} \
         WHERE name = ? ORDER BY lane{lock}"
    );
    let rows = DB::rows(connection, statement, [name.into()]).await?;
    let read = |cells| {
        let mut row = Row::new(POSITION, cells);
        Ok(LanePosition {
            lane: row.integer()?,
            position: row.integer()?,
            epoch: row.integer()?,
            claims: row.integer()?,
            last: row.optional_integer()?.zip(row.optional_integer()?),
            hold: row.optional_integer()?,
            hold_beat: row.integer()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// The keys of a consumer that have positions of their own.
pub(crate) async fn aside<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
) -> Result<Vec<Aside>> {
    let statement =
        format!("SELECT topic, event_key, pos, until FROM {ASIDE} WHERE name = ? ORDER BY pos");
    let rows = DB::rows(connection, statement, [name.into()]).await?;
    let read = |cells| {
        let mut row = Row::new(ASIDE, cells);
        Ok(Aside {
            topic: row.text()?,
            key: row.text()?,
            position: row.integer()?,
            until: row.integer()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Puts a new consumer at the beginning.
pub(crate) async fn create<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
    lanes: usize,
) -> Result<()> {
    let statement = format!(
        "INSERT INTO {POSITION} (name, lane, pos, epoch, claims, hold_beat) VALUES (?, ?, 0, 0, 0, 0)"
    );
    for lane in 0..i64::try_from(lanes).unwrap_or(i64::MAX) {
        DB::execute(connection, statement.clone(), [name.into(), lane.into()]).await?;
    }
    Ok(())
}

/// Every position of a consumer belongs to its new owner: what an older one moves counts no more.
pub(crate) async fn claim<DB: Database>(
    connection: &mut DB::Connection,
    owner: &Owner,
) -> Result<()> {
    let values = || [Value::from(owner.epoch), owner.name.as_str().into()];
    let lanes = format!("UPDATE {POSITION} SET epoch = ?, claims = claims + 1 WHERE name = ?");
    DB::execute(connection, lanes, values()).await?;
    let keys = format!("UPDATE {ASIDE} SET epoch = ? WHERE name = ?");
    DB::execute(connection, keys, values()).await?;
    Ok(())
}

/// An owner has ended in good order: that is no sign that an event has ended it.
pub(crate) async fn leave<DB: Database>(
    connection: &mut DB::Connection,
    owner: &Owner,
) -> Result<()> {
    let statement = format!("UPDATE {POSITION} SET claims = 0 WHERE name = ? AND epoch = ?");
    let values = [owner.name.as_str().into(), owner.epoch.into()];
    DB::execute(connection, statement, values).await?;
    Ok(())
}

/// Moves a lane; `false` if it is not where its owner has left it, belongs to another, or is held before that.
/// This is the guard: whatever the transaction writes besides is undone then.
pub(crate) async fn advance<DB: Database>(
    connection: &mut DB::Connection,
    owner: &Owner,
    lane: &LanePosition,
    to: i64,
    last: Option<(i64, i64)>,
) -> Result<bool, sqlx::Error> {
    let statement = format!(
        "UPDATE {POSITION} SET pos = ?, epoch = ?, claims = 0, last_pos = ?, last_hash = ? \
         WHERE name = ? AND lane = ? AND pos = ? AND epoch <= ? AND (hold IS NULL OR hold >= ?)"
    );
    let last = last.or(lane.last);
    let values = [
        to.into(),
        owner.epoch.into(),
        Value::from(last.map(|last| last.0)),
        Value::from(last.map(|last| last.1)),
        owner.name.as_str().into(),
        lane.lane.into(),
        lane.position.into(),
        owner.epoch.into(),
        to.into(),
    ];
    Ok(DB::execute(connection, statement, values).await? == 1)
}

/// Gives a key a position of its own.
pub(crate) async fn put_aside<DB: Database>(
    connection: &mut DB::Connection,
    owner: &Owner,
    aside: &Aside,
) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO {ASIDE} (name, topic, event_key, pos, until, epoch) VALUES (?, ?, ?, ?, ?, ?)"
    );
    let values = [
        owner.name.as_str().into(),
        aside.topic.as_str().into(),
        aside.key.as_str().into(),
        aside.position.into(),
        aside.until.into(),
        owner.epoch.into(),
    ];
    DB::execute(connection, statement, values).await?;
    Ok(())
}

/// The lane has passed further events of the key by.
pub(crate) async fn extend<DB: Database>(
    connection: &mut DB::Connection,
    owner: &Owner,
    aside: &Aside,
) -> Result<(), sqlx::Error> {
    let statement =
        format!("UPDATE {ASIDE} SET until = ? WHERE name = ? AND topic = ? AND event_key = ?");
    let values = [
        aside.until.into(),
        owner.name.as_str().into(),
        aside.topic.as_str().into(),
        aside.key.as_str().into(),
    ];
    DB::execute(connection, statement, values).await?;
    Ok(())
}

/// Moves a key that has a position of its own, or gives it back to its lane when it has caught up; `false`
/// as for [`advance`].
pub(crate) async fn advance_aside<DB: Database>(
    connection: &mut DB::Connection,
    owner: &Owner,
    aside: &Aside,
    to: i64,
) -> Result<bool, sqlx::Error> {
    let guard = "name = ? AND topic = ? AND event_key = ? AND pos = ? AND epoch <= ?";
    let guarded: [Value; 5] = [
        owner.name.as_str().into(),
        aside.topic.as_str().into(),
        aside.key.as_str().into(),
        aside.position.into(),
        owner.epoch.into(),
    ];
    let changed = if to >= aside.until {
        DB::execute(
            connection,
            format!("DELETE FROM {ASIDE} WHERE {guard}"),
            guarded,
        )
        .await?
    } else {
        let statement = format!("UPDATE {ASIDE} SET pos = ?, epoch = ? WHERE {guard}");
        let mut values = vec![Value::from(to), owner.epoch.into()];
        values.extend(guarded);
        DB::execute(connection, statement, values).await?
    };
    Ok(changed == 1)
}

/// Keeps the lanes of a consumer from going beyond a position, on condition that no one has held them since
/// `beat`: then the hold's own beat is the next one.
pub(crate) async fn hold<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
    position: i64,
    beat: i64,
) -> Result<bool> {
    let statement = format!(
        "UPDATE {POSITION} SET hold = ?, hold_beat = hold_beat + 1 WHERE name = ? AND hold_beat = ?"
    );
    let values = [position.into(), name.into(), beat.into()];
    Ok(DB::execute(connection, statement, values).await? > 0)
}

/// Lets the lanes of a consumer go on, on condition that the hold is still the one with this beat.
pub(crate) async fn let_go<DB: Database>(
    connection: &mut DB::Connection,
    name: &str,
    beat: i64,
) -> Result<()> {
    let statement = format!("UPDATE {POSITION} SET hold = NULL WHERE name = ? AND hold_beat = ?");
    DB::execute(connection, statement, [name.into(), beat.into()]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_in_its_lane_in_every_release() {
        assert_eq!(lane_of("o-1", 1), 0);
        let lanes: Vec<usize> = ["", "o-1", "o-2", "o-3", "käse"]
            .iter()
            .map(|key| lane_of(key, 4))
            .collect();
        assert_eq!(lanes, [0, 3, 0, 3, 2]);
        let mut counts = [0; 4];
        (0..4_000).for_each(|n| counts[lane_of(&format!("o-{n}"), 4)] += 1);
        assert!(counts.iter().all(|count| *count > 800), "{counts:?}");
    }
}
