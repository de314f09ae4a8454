//! The databases that there are, and what differs between them.
//!
//! Everything that Ensue itself asks of a database goes through [`Database::execute`] and [`Database::rows`], in
//! one dialect: placeholders are `?`, values are [`Value`]s. A statement that cannot be said alike is a
//! constant of the trait.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;

use std::borrow::Cow;

use futures_util::future::BoxFuture;

use crate::error::{Error, Result};

/// A database that Ensue can keep positions in: `sqlx::Postgres`, `sqlx::MySql` (MariaDB, too) and
/// `sqlx::Sqlite`, each behind the feature of its name. No other can be added from outside.
pub trait Database: sealed::Sealed + sqlx::Database {
    /// What it is called: `postgres`, `mysql` or `sqlite`.
    #[doc(hidden)]
    const KIND: &'static str;
    /// Begins a transaction that will write.
    #[doc(hidden)]
    const BEGIN: &'static str;
    /// What is said before [`BEGIN_SNAPSHOT`](Self::BEGIN_SNAPSHOT), of the transaction that comes next.
    #[doc(hidden)]
    const BEFORE_SNAPSHOT: Option<&'static str> = None;
    /// Begins a transaction that sees one moment and does not write.
    #[doc(hidden)]
    const BEGIN_SNAPSHOT: &'static str;
    /// Ends a `SELECT` whose rows nobody else changes before the transaction ends.
    #[doc(hidden)]
    const FOR_UPDATE: &'static str;
    /// A text of up to so many bytes that may be part of a primary key, compared byte by byte.
    #[doc(hidden)]
    fn key_type(bytes: usize) -> String;
    /// Whether changes of the schema are part of a transaction.
    #[doc(hidden)]
    const HAS_TRANSACTIONAL_DDL: bool;

    /// What asks for the number of a connection's session, where another session can end it.
    #[doc(hidden)]
    const SESSION: Option<&'static str>;
    /// Ends the session of that number, whatever it does.
    #[doc(hidden)]
    fn end_session(number: i64) -> String;

    /// Makes a view of a table, in place of another one of that name.
    #[doc(hidden)]
    fn show_as(table: &str, view: &str) -> Vec<String>;

    /// How many rows a table has, and a sum over their contents in which their order does not count.
    #[doc(hidden)]
    fn contents<'c>(
        connection: &'c mut Self::Connection,
        table: &'c str,
    ) -> BoxFuture<'c, Result<(i64, String), sqlx::Error>>;

    /// How many rows a statement changed, or matched where it left them as they were.
    #[doc(hidden)]
    fn execute<'c>(
        connection: &'c mut Self::Connection,
        statement: impl Into<Cow<'static, str>>,
        values: impl Into<Vec<Value>>,
    ) -> BoxFuture<'c, Result<u64, sqlx::Error>>;

    /// The rows that a statement gives: integers and texts.
    #[doc(hidden)]
    fn rows<'c>(
        connection: &'c mut Self::Connection,
        statement: impl Into<Cow<'static, str>>,
        values: impl Into<Vec<Value>>,
    ) -> BoxFuture<'c, Result<Vec<Vec<Cell>>, sqlx::Error>>;

    /// Runs statements without values, as they are.
    #[doc(hidden)]
    fn run<'c>(
        connection: &'c mut Self::Connection,
        statements: impl Into<Cow<'static, str>>,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>>;
}

mod sealed {
    /// Implemented here alone.
    pub trait Sealed {}
}

/// A value of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Value {
    /// A `BIGINT`.
    Integer(i64),
    /// No `BIGINT`.
    NoInteger,
    /// A text.
    Text(String),
    /// No text.
    NoText,
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<Option<i64>> for Value {
    fn from(integer: Option<i64>) -> Self {
        integer.map_or(Self::NoInteger, Self::Integer)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::NoText, Self::Text)
    }
}

/// What a row holds in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Cell {
    /// An integer of any size.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// Nothing.
    Null,
}

impl Cell {
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

/// A row of a table of Ensue's, read column by column.
#[doc(hidden)]
#[derive(Debug)]
pub struct Row {
    table: &'static str,
    cells: std::vec::IntoIter<Cell>,
}

impl Row {
    /// Of a table.
    pub fn new(table: &'static str, cells: Vec<Cell>) -> Self {
        Self {
            table,
            cells: cells.into_iter(),
        }
    }

    fn wrong(&self, found: Option<Cell>) -> Error {
        Error::Unreadable {
            table: self.table,
            what: format!("{found:?} where it has something else"),
            remedy: "put the table back from a backup, or remove it and let projections start again",
        }
    }

    /// The next column, an integer.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is something else.
    pub fn integer(&mut self) -> Result<i64> {
        match self.cells.next() {
            Some(Cell::Integer(integer)) => Ok(integer),
            found => Err(self.wrong(found)),
        }
    }

    /// The next column, an integer or nothing.
    ///
    /// # Errors
    /// As for [`integer`](Self::integer).
    pub fn optional_integer(&mut self) -> Result<Option<i64>> {
        match self.cells.next() {
            Some(Cell::Integer(integer)) => Ok(Some(integer)),
            Some(Cell::Null) => Ok(None),
            found => Err(self.wrong(found)),
        }
    }

    /// The next column, a text.
    ///
    /// # Errors
    /// As for [`integer`](Self::integer).
    pub fn text(&mut self) -> Result<String> {
        match self.cells.next() {
            Some(Cell::Text(text)) => Ok(text),
            found => Err(self.wrong(found)),
        }
    }

    /// The next column, bytes or nothing.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is something else.
    pub fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.cells.next() {
            Some(Cell::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Cell::Text(text)) => Ok(Some(text.into_bytes())),
            Some(Cell::Null) => Ok(None),
            found => Err(self.wrong(found)),
        }
    }

    /// The next column, a text or nothing.
    ///
    /// # Errors
    /// As for [`integer`](Self::integer).
    pub fn optional_text(&mut self) -> Result<Option<String>> {
        match self.cells.next() {
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::Null) => Ok(None),
            found => Err(self.wrong(found)),
        }
    }
}

/// The two columns of a statement about a table's contents.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn contents_of(rows: Vec<Vec<Cell>>) -> Result<(i64, String), sqlx::Error> {
    let mut cells = rows.into_iter().next().unwrap_or_default().into_iter();
    match (cells.next(), cells.next()) {
        (Some(Cell::Integer(rows)), Some(Cell::Text(sum))) => Ok((rows, sum)),
        (Some(Cell::Integer(rows)), Some(Cell::Integer(sum))) => Ok((rows, sum.to_string())),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// `?` as `$1`, `$2`, …, where it is a placeholder: nothing that Ensue says holds one in a text.
#[cfg(feature = "postgres")]
fn numbered(statement: &str) -> String {
    let mut numbered = String::with_capacity(statement.len() + 16);
    let mut number = 0_usize;
    for part in statement.split_inclusive('?') {
        match part.strip_suffix('?') {
            Some(before) => {
                number += 1;
                numbered.push_str(before);
                numbered.push_str(&format!("${number}"));
            }
            None => numbered.push_str(part),
        }
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_column_by_column_and_says_what_it_does_not_hold() {
        let cells = vec![Cell::Integer(7), Cell::Null, Cell::Text("x".into())];
        let mut row = Row::new("ensue_position", cells);
        assert_eq!(row.integer().unwrap(), 7);
        assert_eq!(row.optional_text().unwrap(), None);
        let error = row.integer().unwrap_err().to_string();
        assert!(error.contains("ensue_position"), "{error}");
        assert!(row.text().is_err(), "there is no further column");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn placeholders_are_numbered_in_their_order() {
        assert_eq!(numbered("a = ? AND b < ?"), "a = $1 AND b < $2");
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
