//! A database of a test's own, on each kind of server.

use std::time::Duration;

use ensue_sql::sqlx::pool::PoolOptions;
use ensue_sql::sqlx::{AssertSqlSafe, Pool, raw_sql};
use ensue_sql::{Database, Sql};
use tempfile::TempDir;

/// What the tests need of a kind of database besides.
pub(crate) trait Kind: Database {
    /// A database without a table; `None`, and said, if there is no such server.
    async fn fresh() -> Option<Fresh<Self>>;

    /// A copy of a database as it is; nobody uses it meanwhile.
    async fn copy(of: &Fresh<Self>) -> Fresh<Self>;

    /// Adds to a balance, and counts it.
    async fn add(sql: &mut Sql<Self>, account: &str, cents: i64) -> sqlx::Result<()>;

    /// What was added up, by account: its balance and how often it was added to.
    async fn balances(pool: &Pool<Self>, table: &str) -> Vec<(String, i64, i64)>;

    /// What creates the table.
    const CREATE: &str;

    /// A statement that takes longer than any test.
    const HANG: &str = "";
}

/// A database.
pub(crate) struct Fresh<DB: Database> {
    pub(crate) pool: Pool<DB>,
    pub(crate) url: String,
    /// The file of one that is a file.
    _directory: Option<TempDir>,
}

impl<DB: Kind> Fresh<DB> {
    async fn open(url: String, directory: Option<TempDir>) -> Self {
        let options = PoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(300));
        let pool = options.connect(&url).await.unwrap();
        Self {
            pool,
            url,
            _directory: directory,
        }
    }

    /// Another pool on it, as another program has.
    pub(crate) async fn another_pool(&self) -> Pool<DB> {
        Self::open(self.url.clone(), None).await.pool
    }
}

fn name() -> String {
    format!("t_{:016x}", fastrand::u64(..))
}

/// The server's URL with another database in it.
fn of_database(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{database}")
}

impl Kind for sqlx::Sqlite {
    const CREATE: &str = "CREATE TABLE IF NOT EXISTS {balances} \
        (account TEXT PRIMARY KEY, cents BIGINT NOT NULL, moves BIGINT NOT NULL)";

    async fn fresh() -> Option<Fresh<Self>> {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/shop.db?mode=rwc", directory.path().display());
        Some(Fresh::open(url, Some(directory)).await)
    }

    async fn copy(of: &Fresh<Self>) -> Fresh<Self> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.db");
        let vacuum = format!("VACUUM INTO '{}'", file.display());
        raw_sql(AssertSqlSafe(vacuum))
            .execute(&of.pool)
            .await
            .unwrap();
        let url = format!("sqlite://{}?mode=rwc", file.display());
        Fresh::open(url, Some(directory)).await
    }

    async fn add(sql: &mut Sql<Self>, account: &str, cents: i64) -> sqlx::Result<()> {
        let upsert = sql.query(
            "INSERT INTO {balances} (account, cents, moves) VALUES (?, ?, 1) ON CONFLICT (account) \
             DO UPDATE SET cents = cents + excluded.cents, moves = moves + 1",
        );
        let upsert = upsert.bind(account.to_owned()).bind(cents);
        upsert.execute(&mut **sql).await?;
        Ok(())
    }

    async fn balances(pool: &Pool<Self>, table: &str) -> Vec<(String, i64, i64)> {
        let select = format!("SELECT account, cents, moves FROM {table} ORDER BY account");
        sqlx::query_as(AssertSqlSafe(select))
            .fetch_all(pool)
            .await
            .unwrap()
    }
}

impl Kind for sqlx::Postgres {
    const HANG: &str = "SELECT 1 FROM pg_sleep(36000)";

    const CREATE: &str = "CREATE TABLE IF NOT EXISTS {balances} \
        (account TEXT COLLATE \"C\" PRIMARY KEY, cents BIGINT NOT NULL, moves BIGINT NOT NULL)";

    async fn fresh() -> Option<Fresh<Self>> {
        let server = servers::Running::find("postgres")?;
        let name = name();
        create_on_postgres(&server.url, format!("CREATE DATABASE {name}")).await;
        Some(Fresh::open(of_database(&server.url, &name), None).await)
    }

    async fn copy(of: &Fresh<Self>) -> Fresh<Self> {
        let (_, template) = of.url.rsplit_once('/').unwrap();
        let server = servers::Running::find("postgres").unwrap();
        let name = name();
        // Whoever is connected keeps the server from copying it.
        of.pool.close().await;
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        create_on_postgres(&server.url, create).await;
        Fresh::open(of_database(&server.url, &name), None).await
    }

    async fn add(sql: &mut Sql<Self>, account: &str, cents: i64) -> sqlx::Result<()> {
        let upsert = sql.query(
            "INSERT INTO {balances} AS b (account, cents, moves) VALUES ($1, $2, 1) ON CONFLICT (account) \
             DO UPDATE SET cents = b.cents + excluded.cents, moves = b.moves + 1",
        );
        let upsert = upsert.bind(account.to_owned()).bind(cents);
        upsert.execute(&mut **sql).await?;
        Ok(())
    }

    async fn balances(pool: &Pool<Self>, table: &str) -> Vec<(String, i64, i64)> {
        let select = format!("SELECT account, cents, moves FROM {table} ORDER BY account");
        sqlx::query_as(AssertSqlSafe(select))
            .fetch_all(pool)
            .await
            .unwrap()
    }
}

async fn create_on_postgres(url: &str, statement: String) {
    use ensue_sql::sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
}

impl Kind for sqlx::MySql {
    const HANG: &str = "SELECT SLEEP(36000)";

    const CREATE: &str = "CREATE TABLE IF NOT EXISTS {balances} \
        (account VARCHAR(100) COLLATE utf8mb4_bin PRIMARY KEY, cents BIGINT NOT NULL, moves BIGINT NOT NULL)";

    async fn fresh() -> Option<Fresh<Self>> {
        let server = servers::Running::find("mariadb")?;
        let name = name();
        use ensue_sql::sqlx::Connection as _;
        let mut connection = sqlx::MySqlConnection::connect(&server.url).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        raw_sql(AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap();
        Some(Fresh::open(of_database(&server.url, &name), None).await)
    }

    async fn copy(of: &Fresh<Self>) -> Fresh<Self> {
        let (_, from) = of.url.rsplit_once('/').unwrap();
        let copy = Self::fresh().await.unwrap();
        let tables = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
                      WHERE table_schema = ? AND table_type = 'BASE TABLE'";
        let tables: Vec<String> = sqlx::query_scalar(tables)
            .bind(from)
            .fetch_all(&of.pool)
            .await
            .unwrap();
        for table in tables {
            let statements = format!(
                "CREATE TABLE {table} LIKE {from}.{table}; INSERT INTO {table} SELECT * FROM {from}.{table}"
            );
            raw_sql(AssertSqlSafe(statements))
                .execute(&copy.pool)
                .await
                .unwrap();
        }
        copy
    }

    async fn add(sql: &mut Sql<Self>, account: &str, cents: i64) -> sqlx::Result<()> {
        let upsert = sql.query(
            "INSERT INTO {balances} (account, cents, moves) VALUES (?, ?, 1) ON DUPLICATE KEY \
             UPDATE cents = cents + VALUES(cents), moves = moves + 1",
        );
        let upsert = upsert.bind(account.to_owned()).bind(cents);
        upsert.execute(&mut **sql).await?;
        Ok(())
    }

    async fn balances(pool: &Pool<Self>, table: &str) -> Vec<(String, i64, i64)> {
        let select = format!("SELECT account, cents, moves FROM {table} ORDER BY account");
        sqlx::query_as(AssertSqlSafe(select))
            .fetch_all(pool)
            .await
            .unwrap()
    }
}
