//! MySQL and MariaDB.

use std::borrow::Cow;

use futures_util::future::BoxFuture;

use super::statement::{driver, statements};
use super::{Cell, Database, contents_of, sealed};

impl sealed::Sealed for sqlx::MySql {}

impl Database for sqlx::MySql {
    const KIND: &'static str = "mysql";
    const BEGIN: &'static str = "START TRANSACTION";
    const BEFORE_SNAPSHOT: Option<&'static str> =
        Some("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    const BEGIN_SNAPSHOT: &'static str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const HAS_TRANSACTIONAL_DDL: bool = false;

    const SESSION: Option<&'static str> = Some("SELECT CAST(CONNECTION_ID() AS SIGNED)");

    fn end_session(number: i64) -> String {
        format!("KILL {number}")
    }

    fn key_type(bytes: usize) -> String {
        // As text, a key of four bytes for each character would be longer than an index may be.
        format!("VARBINARY({bytes})")
    }

    fn show_as(table: &str, view: &str) -> Vec<String> {
        vec![format!(
            "CREATE OR REPLACE VIEW {view} AS SELECT * FROM {table}"
        )]
    }

    fn contents<'c>(
        connection: &'c mut Self::Connection,
        table: &'c str,
    ) -> BoxFuture<'c, Result<(i64, String), sqlx::Error>> {
        Box::pin(async move {
            let columns = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
                           WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position";
            let columns = Self::rows(connection, columns, [table.into()]).await?;
            let quoted: Vec<String> = columns
                .into_iter()
                .flatten()
                .filter_map(|cell| match cell {
                    Cell::Text(name) => Some(format!("QUOTE(`{}`)", name.replace('`', "``"))),
                    _ => None,
                })
                .collect();
            let statement = format!(
                "SELECT COUNT(*), CAST(COALESCE(SUM(CAST(CONV(LEFT(MD5(CONCAT_WS(',', {})), 15), 16, 10) \
                 AS DECIMAL(20))), 0) AS CHAR) FROM {table}",
                quoted.join(", ")
            );
            contents_of(Self::rows(connection, statement, []).await?)
        })
    }

    statements!(|statement: Cow<'static, str>| statement);
}

driver!(sqlx::MySql);
