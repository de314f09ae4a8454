//! PostgreSQL.

use std::borrow::Cow;

use super::statement::{driver, statements};
use super::{Database, numbered, sealed};

impl sealed::Sealed for sqlx::Postgres {}

impl Database for sqlx::Postgres {
    const KIND: &'static str = "postgres";
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    const BEGIN_SNAPSHOT: &'static [&'static str] =
        &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"];
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const HAS_TRANSACTIONAL_DDL: bool = true;

    fn key_type(_bytes: usize) -> String {
        "TEXT COLLATE \"C\"".to_owned()
    }

    statements!(|statement: Cow<'static, str>| numbered(&statement));
}

driver!(sqlx::Postgres);
