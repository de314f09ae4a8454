//! SQLite.

use std::borrow::Cow;

use super::statement::{driver, statements};
use super::{Database, sealed};

impl sealed::Sealed for sqlx::Sqlite {}

impl Database for sqlx::Sqlite {
    const KIND: &'static str = "sqlite";
    // At once as its writer: one that becomes it later may be refused instead of waiting.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const BEGIN_SNAPSHOT: &'static [&'static str] = &["BEGIN DEFERRED"];
    // There is one writer at a time.
    const FOR_UPDATE: &'static str = "";
    const HAS_TRANSACTIONAL_DDL: bool = true;

    fn key_type(_bytes: usize) -> String {
        "TEXT".to_owned()
    }

    statements!(|statement: Cow<'static, str>| statement);
}

driver!(sqlx::Sqlite);
