//! The databases: a new one for each measurement, and the statements that both sides write with.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use ensue_sql::Database;
use ensue_sql::sqlx::pool::PoolOptions;
use ensue_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use ensue_sql::sqlx::{
    self, AssertSqlSafe, Connection, MySql, Pool, Postgres, QueryBuilder, Sqlite,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::orders::OrderPlaced;
use crate::Outcome;

const CONNECTIONS_MAX: u32 = 8;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One statement for all.
    Rows,
    /// `COPY`.
    Copy,
    /// A statement for each.
    Single,
}

impl Way {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rows => "INSERT of many rows",
            Self::Copy => "COPY",
            Self::Single => "INSERT row by row",
        }
    }
}

/// What is needed of a kind of database besides.
pub(super) trait Kind: Database {
    const TITLE: &'static str;
    /// Which server has it; SQLite needs none.
    const SERVER: Option<&'static str>;
    /// The columns of a table of orders.
    const COLUMNS: &'static str;
    /// How it takes rows.
    const WAYS: &'static [Way];

    /// A new database without tables, in `place` or on the server.
    fn open(url: String) -> BoxFuture<'static, Outcome<Pool<Self>>>;

    /// Writes orders into a table.
    fn write<'c>(
        way: Way,
        connection: &'c mut Self::Connection,
        table: &'c str,
        orders: &'c [OrderPlaced],
    ) -> BoxFuture<'c, sqlx::Result<()>>;
}

/// A new database.
pub(super) struct Fresh<DB: Kind> {
    pub(super) pool: Pool<DB>,
    /// What removes it.
    removal: Option<(String, String)>,
}

impl<DB: Kind> Fresh<DB> {
    pub(super) async fn create(place: &Path, server: Option<&str>) -> Outcome<Self> {
        let name = format!("bench_{:012x}", fastrand::u64(..) >> 16);
        let Some(server) = server else {
            let url = format!("sqlite:{}", place.join(name).display());
            return Ok(Self {
                pool: DB::open(url).await?,
                removal: None,
            });
        };
        let mut connection = DB::Connection::connect(server).await?;
        DB::run(&mut connection, format!("CREATE DATABASE {name}")).await?;
        let (before, _) = server.rsplit_once('/').ok_or("a URL without a database")?;
        Ok(Self {
            pool: DB::open(format!("{before}/{name}")).await?,
            removal: Some((server.to_owned(), name)),
        })
    }

    pub(super) async fn remove(self) -> Outcome<()> {
        self.pool.close().await;
        if let Some((server, name)) = self.removal {
            let mut connection = DB::Connection::connect(&server).await?;
            DB::run(&mut connection, format!("DROP DATABASE {name}")).await?;
        }
        Ok(())
    }
}

fn options<DB: sqlx::Database>() -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(Duration::from_secs(60))
}

const INSERT: &str = "(number, customer, cents, note)";

/// `INSERT … VALUES (…), (…), …`, which SQLite and MariaDB have in common.
macro_rules! values {
    ($DB:ty, $connection:ident, $table:ident, $orders:ident) => {{
        let mut insert = QueryBuilder::<$DB>::new(format!("INSERT INTO {} {INSERT} ", $table));
        insert.push_values($orders, |mut row, order: &OrderPlaced| {
            row.push_bind(order.number)
                .push_bind(&order.customer)
                .push_bind(order.cents)
                .push_bind(&order.note);
        });
        insert.build().execute($connection).await?;
    }};
}

/// A statement for each row.
macro_rules! single {
    ($placeholders:literal, $connection:ident, $table:ident, $orders:ident) => {{
        let insert = format!("INSERT INTO {} {INSERT} VALUES {}", $table, $placeholders);
        for order in $orders {
            sqlx::query(AssertSqlSafe(insert.clone()))
                .bind(order.number)
                .bind(&order.customer)
                .bind(order.cents)
                .bind(&order.note)
                .execute(&mut *$connection)
                .await?;
        }
    }};
}

impl Kind for Sqlite {
    const TITLE: &'static str = "SQLite";
    const SERVER: Option<&'static str> = None;
    const COLUMNS: &'static str = "(number INTEGER PRIMARY KEY, customer TEXT NOT NULL, cents BIGINT NOT NULL, note TEXT NOT NULL)";
    const WAYS: &'static [Way] = &[Way::Rows, Way::Single];

    fn open(url: String) -> BoxFuture<'static, Outcome<Pool<Self>>> {
        async move {
            let file = SqliteConnectOptions::from_str(&url)?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(60));
            Ok(options().connect_with(file).await?)
        }
        .boxed()
    }

    fn write<'c>(
        way: Way,
        connection: &'c mut Self::Connection,
        table: &'c str,
        orders: &'c [OrderPlaced],
    ) -> BoxFuture<'c, sqlx::Result<()>> {
        async move {
            match way {
                Way::Single => single!("(?, ?, ?, ?)", connection, table, orders),
                Way::Rows | Way::Copy => values!(Self, connection, table, orders),
            }
            Ok(())
        }
        .boxed()
    }
}

impl Kind for MySql {
    const TITLE: &'static str = "MariaDB";
    const SERVER: Option<&'static str> = Some("mariadb");
    const COLUMNS: &'static str = "(number BIGINT PRIMARY KEY, customer VARCHAR(100) NOT NULL, cents BIGINT NOT NULL, \
         note VARCHAR(200) NOT NULL)";
    const WAYS: &'static [Way] = &[Way::Rows, Way::Single];

    fn open(url: String) -> BoxFuture<'static, Outcome<Pool<Self>>> {
        async move { Ok(options().connect(&url).await?) }.boxed()
    }

    fn write<'c>(
        way: Way,
        connection: &'c mut Self::Connection,
        table: &'c str,
        orders: &'c [OrderPlaced],
    ) -> BoxFuture<'c, sqlx::Result<()>> {
        async move {
            match way {
                Way::Single => single!("(?, ?, ?, ?)", connection, table, orders),
                Way::Rows | Way::Copy => values!(Self, connection, table, orders),
            }
            Ok(())
        }
        .boxed()
    }
}

impl Kind for Postgres {
    const TITLE: &'static str = "PostgreSQL";
    const SERVER: Option<&'static str> = Some("postgres");
    const COLUMNS: &'static str = "(number BIGINT PRIMARY KEY, customer TEXT NOT NULL, cents BIGINT NOT NULL, note TEXT NOT NULL)";
    const WAYS: &'static [Way] = &[Way::Rows, Way::Copy, Way::Single];

    fn open(url: String) -> BoxFuture<'static, Outcome<Pool<Self>>> {
        async move { Ok(options().connect(&url).await?) }.boxed()
    }

    fn write<'c>(
        way: Way,
        connection: &'c mut Self::Connection,
        table: &'c str,
        orders: &'c [OrderPlaced],
    ) -> BoxFuture<'c, sqlx::Result<()>> {
        async move {
            match way {
                Way::Single => single!("($1, $2, $3, $4)", connection, table, orders),
                Way::Rows => unnest(connection, table, orders).await?,
                Way::Copy => copy(connection, table, orders).await?,
            }
            Ok(())
        }
        .boxed()
    }
}

async fn unnest(
    connection: &mut sqlx::PgConnection,
    table: &str,
    orders: &[OrderPlaced],
) -> sqlx::Result<()> {
    let insert = format!(
        "INSERT INTO {table} {INSERT} SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::text[])"
    );
    let column = |of: fn(&OrderPlaced) -> &str| orders.iter().map(of).collect::<Vec<_>>();
    let number = |of: fn(&OrderPlaced) -> i64| orders.iter().map(of).collect::<Vec<_>>();
    sqlx::query(AssertSqlSafe(insert))
        .bind(number(|it| it.number))
        .bind(column(|it| &it.customer))
        .bind(number(|it| it.cents))
        .bind(column(|it| &it.note))
        .execute(connection)
        .await?;
    Ok(())
}

async fn copy(
    connection: &mut sqlx::PgConnection,
    table: &str,
    orders: &[OrderPlaced],
) -> sqlx::Result<()> {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(orders.len() * 180);
    for order in orders {
        let OrderPlaced {
            number,
            customer,
            cents,
            note,
        } = order;
        // Writing to a string cannot fail; there is nothing in it that COPY would read otherwise.
        let _ = writeln!(text, "{number}\t{customer}\t{cents}\t{note}");
    }
    let statement = format!("COPY {table} {INSERT} FROM STDIN");
    let mut copying = connection.copy_in_raw(&statement).await?;
    copying.send(text.into_bytes()).await?;
    copying.finish().await?;
    Ok(())
}
