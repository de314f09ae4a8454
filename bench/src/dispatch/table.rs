//! The same work by hand: two tables in SQLite, a loop that reads a batch of events, and inserts their effects and
//! the new position in one transaction.

use std::path::Path;

use rusqlite::{Connection, params};

use super::Args;
use super::effects::{BATCH, Handled, OrderCreated, Phase, order, paid};
use crate::Outcome;
use crate::meter::Meter;

const TABLES: &str = "
    CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE effects (position INTEGER PRIMARY KEY, id TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE positions (name TEXT PRIMARY KEY, position INTEGER NOT NULL);
    INSERT INTO positions VALUES ('payments', 0);";

pub(super) fn handle_and_publish(args: &Args, directory: &Path) -> Outcome<Handled> {
    let mut database = Connection::open(directory.join("events.sqlite"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(TABLES)?;
    let meter = Meter::start();
    let mut number = 0;
    while number < args.events {
        let until = (number + BATCH).min(args.events);
        let transaction = database.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO events (id, key, body) VALUES (?1, ?2, ?3)")?;
            for n in number..until {
                let order = order(n, args.keys);
                let body = serde_json::to_vec(&order)?;
                insert.execute(params![
                    format!("{:032x}", fastrand::u128(..)),
                    order.order_id,
                    body
                ])?;
            }
        }
        transaction.commit()?;
        number = until;
    }
    let published = Phase::from((meter.stop(), args.events));
    let meter = Meter::start();
    let mut position = 0;
    while position < args.events as i64 {
        position = handle_batch(&mut database, position)?;
    }
    let handled = Phase::from((meter.stop(), args.events));
    let count: i64 = database.query_row("SELECT count(*) FROM effects", [], |row| row.get(0))?;
    if count as u64 != args.events {
        return Err("the run is void: not every event has exactly one effect".into());
    }
    Ok(Handled { published, handled })
}

fn handle_batch(database: &mut Connection, position: i64) -> Outcome<i64> {
    let transaction = database.transaction()?;
    let mut last = position;
    {
        let mut select = transaction
            .prepare_cached("SELECT position, id, body FROM events WHERE position > ?1 LIMIT ?2")?;
        let mut insert = transaction
            .prepare_cached("INSERT INTO effects (id, key, body) VALUES (?1, ?2, ?3)")?;
        let mut rows = select.query(params![position, BATCH as i64])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            let id: String = row.get(1)?;
            let order: OrderCreated = serde_json::from_slice(row.get_ref(2)?.as_blob()?)?;
            let effect = paid(order);
            let body = serde_json::to_vec(&effect)?;
            insert.execute(params![format!("{id}/payments/0"), effect.order_id, body])?;
        }
        transaction
            .prepare_cached("UPDATE positions SET position = ?1 WHERE name = 'payments'")?
            .execute([last])?;
    }
    transaction.commit()?;
    if last == position {
        return Err("the run is void: events are missing in the table".into());
    }
    Ok(last)
}
