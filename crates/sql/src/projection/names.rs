//! What a version of a projection is called: its group, and its tables.

use crate::error::{Error, Result};

/// The longest name of a projection or of one of its tables, in bytes.
pub const PROJECTION_NAME_BYTES_MAX: usize = 40;
/// The most tables of a projection.
pub const TABLES_MAX: usize = 64;

/// One version of a projection: its tables end with `_v2`, and `{orders}` in a statement is `orders_v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    projection: String,
    version: i64,
    tables: Vec<String>,
}

impl Names {
    pub(crate) fn new(projection: &str, version: i64, tables: &[String]) -> Self {
        Self {
            projection: projection.to_owned(),
            version,
            tables: tables.to_vec(),
        }
    }

    /// The projection's.
    pub(crate) fn projection(&self) -> &str {
        &self.projection
    }

    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// The name of the consumer, in the engine as in the database.
    pub(crate) fn group(&self) -> String {
        group(&self.projection, self.version)
    }

    /// The tables, as programs read them.
    pub(crate) fn tables(&self) -> &[String] {
        &self.tables
    }

    /// The name of a table in this version.
    pub(crate) fn table(&self, table: &str) -> String {
        format!("{table}_v{}", self.version)
    }

    /// A statement in which the projection's tables are in braces.
    pub(crate) fn expand(&self, statement: &str) -> String {
        let mut expanded = String::with_capacity(statement.len() + 16);
        let mut rest = statement;
        while let Some((before, behind)) = rest.split_once('{') {
            expanded.push_str(before);
            let table = behind.split_once('}').and_then(|(name, after)| {
                Some((self.tables.iter().find(|it| *it == name)?, after))
            });
            match table {
                Some((table, after)) => {
                    expanded.push_str(&self.table(table));
                    rest = after;
                }
                None => {
                    expanded.push('{');
                    rest = behind;
                }
            }
        }
        expanded.push_str(rest);
        expanded
    }
}

/// The group of a version of a projection.
pub(crate) fn group(projection: &str, version: i64) -> String {
    format!("{projection}-v{version}")
}

/// Whether a projection, or a table, may be called so: it becomes part of names in the database.
pub(crate) fn check(name: &str, what: &'static str) -> Result<()> {
    let is_start = |byte: &u8| byte.is_ascii_lowercase();
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_name = name.as_bytes().first().is_some_and(is_start)
        && name.bytes().all(is_part)
        && name.len() <= PROJECTION_NAME_BYTES_MAX;
    match is_name {
        true => Ok(()),
        false => Err(Error::Name {
            what,
            name: name.chars().take(80).collect(),
            bytes_max: PROJECTION_NAME_BYTES_MAX,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_projections_own_tables_are_expanded() {
        let names = Names::new("shop", 12, &["orders".into(), "lines".into()]);
        assert_eq!(
            names.expand(
                "INSERT INTO {orders} SELECT '{}', '{x}' FROM {lines}, {other} WHERE a = '{'"
            ),
            "INSERT INTO orders_v12 SELECT '{}', '{x}' FROM lines_v12, {other} WHERE a = '{'"
        );
        assert_eq!(names.group(), "shop-v12");
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for name in ["orders", "o", "a_1"] {
            assert!(check(name, "table").is_ok(), "{name}");
        }
        for name in ["", "1a", "Orders", "a-b", "a;drop", "a b", &"x".repeat(41)] {
            let error = check(name, "table").unwrap_err().to_string();
            assert!(error.contains("lower-case"), "{error}");
        }
    }
}
