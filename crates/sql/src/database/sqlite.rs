//! SQLite.

use std::borrow::Cow;

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;

use super::statement::{driver, statements};
use super::{Cell, Database, sealed};
use crate::hash::fnv;

impl sealed::Sealed for sqlx::Sqlite {}

impl Database for sqlx::Sqlite {
    const KIND: &'static str = "sqlite";
    // At once as its writer: one that becomes it later may be refused instead of waiting.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const BEGIN_SNAPSHOT: &'static str = "BEGIN DEFERRED";
    // There is one writer at a time.
    const FOR_UPDATE: &'static str = "";
    const HAS_TRANSACTIONAL_DDL: bool = true;

    // A statement runs in the program itself, and no one else waits for it.
    const SESSION: Option<&'static str> = None;

    fn end_session(_number: i64) -> String {
        String::new()
    }

    fn key_type(_bytes: usize) -> String {
        "TEXT".to_owned()
    }

    fn show_as(table: &str, view: &str) -> Vec<String> {
        vec![
            format!("DROP VIEW IF EXISTS {view}"),
            format!("CREATE VIEW {view} AS SELECT * FROM {table}"),
        ]
    }

    /// It has no function that hashes: the rows are read, one after the other.
    fn contents<'c>(
        connection: &'c mut Self::Connection,
        table: &'c str,
    ) -> BoxFuture<'c, Result<(i64, String), sqlx::Error>> {
        Box::pin(async move {
            let columns = Self::rows(
                connection,
                "SELECT name FROM pragma_table_info(?) ORDER BY cid",
                [table.into()],
            );
            let quoted: Vec<String> = columns
                .await?
                .into_iter()
                .flatten()
                .filter_map(|cell| match cell {
                    Cell::Text(name) => Some(format!("quote(\"{}\")", name.replace('"', "\"\""))),
                    _ => None,
                })
                .collect();
            let statement = format!("SELECT {} FROM {table}", quoted.join(" || ',' || "));
            let mut texts =
                sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(statement)).fetch(connection);
            let (mut rows, mut sum) = (0_i64, 0_u64);
            while let Some(text) = texts.try_next().await? {
                rows += 1;
                sum = sum.wrapping_add(fnv(text.bytes()));
            }
            Ok((rows, sum.to_string()))
        })
    }

    statements!(|statement: Cow<'static, str>| statement);
}

driver!(sqlx::Sqlite);
