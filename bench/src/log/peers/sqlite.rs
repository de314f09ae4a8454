//! SQLite with a write-ahead log. One connection behind a lock: there is one writer at a time
//! anyway, and a lock wakes sooner than SQLite's own waiting.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::{Class, Peer};
use crate::Outcome;

struct Sqlite(Mutex<Connection>);

pub(super) fn open(directory: &Path, class: Class) -> Outcome<Box<dyn Peer>> {
    let connection = Connection::open(directory.join("events.sqlite"))?;
    let synchronous = match class {
        Class::Sync => "FULL",
        Class::PageCache => "NORMAL",
    };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    )?;
    Ok(Box::new(Sqlite(Mutex::new(connection))))
}

const INSERT: &str = "INSERT INTO events (body) VALUES (?1)";

impl Peer for Sqlite {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.prepare_cached(INSERT)?.execute([body])?;
        Ok(())
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for body in bodies {
                insert.execute([body])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = connection.prepare("SELECT body FROM events ORDER BY number")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?)?;
        }
        Ok(())
    }
}
