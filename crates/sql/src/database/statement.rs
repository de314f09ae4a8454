//! Statements and rows, the same over each of sqlx's drivers.

/// Implements [`Database`](super::Database)'s ways to ask; `$rewrite` makes a statement the database's own.
macro_rules! statements {
    ($rewrite:expr) => {
        fn execute<'c>(
            connection: &'c mut Self::Connection,
            statement: impl Into<std::borrow::Cow<'static, str>>,
            values: impl Into<Vec<$crate::database::Value>>,
        ) -> futures_util::future::BoxFuture<'c, Result<u64, sqlx::Error>> {
            let statement = $rewrite(statement.into());
            let values = values.into();
            Box::pin(async move {
                let query = bind(sqlx::query::<Self>(sqlx::AssertSqlSafe(statement)), values);
                Ok(query.execute(connection).await?.rows_affected())
            })
        }

        fn rows<'c>(
            connection: &'c mut Self::Connection,
            statement: impl Into<std::borrow::Cow<'static, str>>,
            values: impl Into<Vec<$crate::database::Value>>,
        ) -> futures_util::future::BoxFuture<
            'c,
            Result<Vec<Vec<$crate::database::Cell>>, sqlx::Error>,
        > {
            let statement = $rewrite(statement.into());
            let values = values.into();
            Box::pin(async move {
                let query = bind(sqlx::query::<Self>(sqlx::AssertSqlSafe(statement)), values);
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(cells).collect()
            })
        }

        fn run<'c>(
            connection: &'c mut Self::Connection,
            statements: impl Into<std::borrow::Cow<'static, str>>,
        ) -> futures_util::future::BoxFuture<'c, Result<(), sqlx::Error>> {
            let statements = statements.into();
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
                    .execute(connection)
                    .await?;
                Ok(())
            })
        }
    };
}

/// Binds values, and reads rows, in the driver of `$database`.
macro_rules! driver {
    ($database:ty) => {
        type Query =
            sqlx::query::Query<'static, $database, <$database as sqlx::Database>::Arguments>;

        fn bind(query: Query, values: Vec<$crate::database::Value>) -> Query {
            use $crate::database::Value;
            values.into_iter().fold(query, |query, value| match value {
                Value::Integer(integer) => query.bind(integer),
                Value::NoInteger => query.bind(None::<i64>),
                Value::Text(text) => query.bind(text),
                Value::NoText => query.bind(None::<String>),
                Value::Bytes(bytes) => query.bind(bytes),
            })
        }

        fn cells(
            row: &<$database as sqlx::Database>::Row,
        ) -> Result<Vec<$crate::database::Cell>, sqlx::Error> {
            use sqlx::Row as _;
            (0..row.columns().len()).map(|at| cell(row, at)).collect()
        }

        /// As an integer, as a text or as bytes: whatever the column's type allows.
        fn cell(
            row: &<$database as sqlx::Database>::Row,
            at: usize,
        ) -> Result<$crate::database::Cell, sqlx::Error> {
            use sqlx::{Row as _, ValueRef as _};
            use $crate::database::Cell;
            if row.try_get_raw(at)?.is_null() {
                return Ok(Cell::Null);
            }
            if let Ok(integer) = row.try_get::<i64, _>(at) {
                return Ok(Cell::Integer(integer));
            }
            if let Ok(integer) = row.try_get::<i32, _>(at) {
                return Ok(Cell::Integer(integer.into()));
            }
            match row.try_get::<String, _>(at) {
                Ok(text) => Ok(Cell::Text(text)),
                Err(_) => row.try_get::<Vec<u8>, _>(at).map(Cell::of_bytes),
            }
        }
    };
}

pub(super) use {driver, statements};
