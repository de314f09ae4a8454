//! MySQL and MariaDB.

use std::borrow::Cow;

use super::statement::{driver, statements};
use super::{Database, sealed};

impl sealed::Sealed for sqlx::MySql {}

impl Database for sqlx::MySql {
    const KIND: &'static str = "mysql";
    const BEGIN: &'static str = "START TRANSACTION";
    const BEGIN_SNAPSHOT: &'static [&'static str] = &[
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    ];
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const HAS_TRANSACTIONAL_DDL: bool = false;

    fn key_type(bytes: usize) -> String {
        // As text, a key of four bytes for each character would be longer than an index may be.
        format!("VARBINARY({bytes})")
    }

    statements!(|statement: Cow<'static, str>| statement);
}

driver!(sqlx::MySql);
