//! PostgreSQL.

use std::borrow::Cow;

use futures_util::future::BoxFuture;

use super::statement::{driver, statements};
use super::{Database, contents_of, numbered, sealed};

impl sealed::Sealed for sqlx::Postgres {}

impl Database for sqlx::Postgres {
    const KIND: &'static str = "postgres";
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    const BEGIN_SNAPSHOT: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const HAS_TRANSACTIONAL_DDL: bool = true;

    const SESSION: Option<&'static str> = Some("SELECT pg_backend_pid()");

    fn end_session(number: i64) -> String {
        format!("SELECT pg_terminate_backend({number})")
    }

    fn key_type(_bytes: usize) -> String {
        "TEXT COLLATE \"C\"".to_owned()
    }

    fn show_as(table: &str, view: &str) -> Vec<String> {
        // Made anew only where the columns are others: rights on a view, and views of it, go with it.
        let create = format!("VIEW {view} AS SELECT * FROM {table}");
        vec![format!(
            "DO $$ BEGIN CREATE OR REPLACE {create}; EXCEPTION WHEN invalid_table_definition THEN \
             DROP VIEW {view}; CREATE {create}; END $$"
        )]
    }

    fn contents<'c>(
        connection: &'c mut Self::Connection,
        table: &'c str,
    ) -> BoxFuture<'c, Result<(i64, String), sqlx::Error>> {
        Box::pin(async move {
            let statement = format!(
                "SELECT COUNT(*), COALESCE(SUM(hashtextextended(t::text, 0)::numeric), 0)::text \
                 FROM {table} t"
            );
            contents_of(Self::rows(connection, statement, []).await?)
        })
    }

    statements!(|statement: Cow<'static, str>| numbered(&statement));
}

driver!(sqlx::Postgres);
