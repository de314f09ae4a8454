//! Profiles as rows: what each database is asked.
//!
//! A row has what the event has: the ciphertext. So nothing has to be removed from the database's pages, logs and
//! backups when a user is forgotten.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use ensue::Position;
use ensue::prelude::*;
use ensue_sql::sqlx;
use ensue_sql::{Projection, Sql, wait_until_applied};
use futures_util::future::BoxFuture;

use crate::domain::Profile;
use crate::events::{ProfilePublished, ProfileUnpublished, UserForgotten};

/// A row stays when a profile is taken down, so that its position tells how new that is.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS {profiles} \
    (user_id VARCHAR(64) PRIMARY KEY, profile TEXT, pos BIGINT NOT NULL)";
/// The projection, and its table.
const NAME: &str = "profiles";

/// Why the view has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// No database has such a URL.
    #[error(
        "the database `{0}`: expected is sqlite:FILE, or postgres://… or mysql://… with the feature of that name"
    )]
    Unknown(String),
    /// The file of the database.
    #[error("the view's database {}: {source}", path.display())]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A row is not one that this program wrote.
    #[error(
        "the view's database has a profile that cannot be read: {0}; remove the table, it is made again"
    )]
    Row(#[source] serde_json::Error),
    /// The database.
    #[error("the view's database: {0}")]
    Database(#[from] sqlx::Error),
    /// The projection.
    #[error(transparent)]
    Projection(#[from] ensue_sql::Error),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] ensue_blocks::cache::CacheError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
}

/// A row: up to which position it is, and the profile.
pub(super) type Row = (Position, Option<Profile>);

/// What is asked of a database that can be asked by several at once.
pub(super) trait Reader: Send + Sync {
    /// The row of a user.
    fn row(&self, user: String) -> BoxFuture<'_, Result<Row, ViewError>>;

    /// Waits until the row of the event at this position is there.
    fn applied(
        &self,
        engine: Engine,
        position: Position,
        at_most: Duration,
    ) -> BoxFuture<'_, ensue_sql::Result<()>>;

    /// The profiles of the users behind this one, in the order of their names.
    fn page(
        &self,
        after: String,
        limit: i64,
    ) -> BoxFuture<'_, Result<Vec<(String, Profile)>, ViewError>>;
}

/// A database: who reads it, and the projection that writes it for as long as this is there; it completes
/// when it cannot go on.
pub(super) struct Opened {
    pub(super) reader: std::sync::Arc<dyn Reader>,
    pub(super) failing: BoxFuture<'static, ensue_sql::Error>,
}

/// Opens the database at this URL, and starts the projection.
pub(super) async fn open(engine: &Engine, url: &str) -> Result<Opened, ViewError> {
    if url.starts_with("sqlite:") {
        return sqlite(engine, url).await;
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let pool = sqlx::PgPool::connect(url).await?;
        return of_postgres::open(engine, pool).await;
    }
    #[cfg(feature = "mysql")]
    if url.starts_with("mysql:") || url.starts_with("mariadb:") {
        let pool = sqlx::MySqlPool::connect(url).await?;
        return of_mysql::open(engine, pool).await;
    }
    // A URL may have a password: only what comes before it is said.
    let scheme = url.split(':').next().unwrap_or_default();
    Err(ViewError::Unknown(format!("{scheme}:…")))
}

async fn sqlite(engine: &Engine, url: &str) -> Result<Opened, ViewError> {
    let options = sqlx::sqlite::SqliteConnectOptions::from_str(url)?;
    if !url.contains(":memory:") {
        make_private(options.get_filename())?;
    }
    let options = options
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    let pool = sqlx::SqlitePool::connect_with(options).await?;
    of_sqlite::open(engine, pool).await
}

/// Makes the file, readable by its owner alone; SQLite gives the files beside it the same mode.
fn make_private(path: &Path) -> Result<(), ViewError> {
    let mut options = std::fs::OpenOptions::new();
    let made = options.append(true).create(true).mode(0o600).open(path);
    made.map(drop).map_err(|source| ViewError::File {
        path: path.to_owned(),
        source,
    })
}

fn read(profile: &str) -> Result<Profile, ViewError> {
    serde_json::from_str(profile).map_err(ViewError::Row)
}

fn written(profile: &Profile) -> sqlx::Result<String> {
    serde_json::to_string(profile).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// The same for each database: sqlx has a type of its own for each.
macro_rules! database {
    ($room:ident, $database:ty, $put:expr, $one:expr, $page:expr) => {
        mod $room {
            use super::*;

            const PUT: &str = $put;
            const ONE: &str = $one;
            const PAGE: &str = $page;

            struct Writer;

            impl Writer {
                async fn published(
                    &self,
                    sql: &mut Sql<$database>,
                    event: ProfilePublished,
                ) -> sqlx::Result<()> {
                    let ProfilePublished { user, name, about } = event;
                    let profile = written(&Profile { name, about })?;
                    put(sql, user.as_str(), Some(profile)).await
                }

                async fn unpublished(
                    &self,
                    sql: &mut Sql<$database>,
                    event: ProfileUnpublished,
                ) -> sqlx::Result<()> {
                    put(sql, event.user.as_str(), None).await
                }

                async fn forgotten(
                    &self,
                    sql: &mut Sql<$database>,
                    event: UserForgotten,
                ) -> sqlx::Result<()> {
                    put(sql, event.user.as_str(), None).await
                }
            }

            async fn put(
                sql: &mut Sql<$database>,
                user: &str,
                profile: Option<String>,
            ) -> sqlx::Result<()> {
                let position = sql.position().map_or(0, Position::get);
                let put = sql.query(PUT).bind(user.to_owned()).bind(profile);
                put.bind(position as i64).execute(&mut **sql).await?;
                Ok(())
            }

            impl Reader for sqlx::Pool<$database> {
                fn applied(
                    &self,
                    engine: Engine,
                    position: Position,
                    at_most: Duration,
                ) -> BoxFuture<'_, ensue_sql::Result<()>> {
                    Box::pin(async move {
                        wait_until_applied(self, &engine, NAME, position, at_most).await
                    })
                }

                fn row(&self, user: String) -> BoxFuture<'_, Result<Row, ViewError>> {
                    Box::pin(async move {
                        let found = sqlx::query_as::<_, (Option<String>, i64)>(ONE).bind(user);
                        let Some((profile, position)) = found.fetch_optional(self).await? else {
                            return Ok((Position::ZERO, None));
                        };
                        let profile = profile.map(|it| read(&it)).transpose()?;
                        Ok((Position::new(position as u64), profile))
                    })
                }

                fn page(
                    &self,
                    after: String,
                    limit: i64,
                ) -> BoxFuture<'_, Result<Vec<(String, Profile)>, ViewError>> {
                    Box::pin(async move {
                        let page = sqlx::query_as::<_, (String, String)>(PAGE);
                        let page = page.bind(after).bind(limit).fetch_all(self).await?;
                        let page = page.into_iter();
                        page.map(|(user, profile)| Ok((user, read(&profile)?)))
                            .collect()
                    })
                }
            }

            pub(super) async fn open(
                engine: &Engine,
                pool: sqlx::Pool<$database>,
            ) -> Result<Opened, ViewError> {
                let mut running = Projection::new(NAME, pool.clone(), Writer)
                    .table(NAME, CREATE)
                    .on(Writer::published)
                    .on(Writer::unpublished)
                    .on(Writer::forgotten)
                    .start(engine)
                    .await?;
                Ok(Opened {
                    reader: std::sync::Arc::new(pool),
                    failing: Box::pin(async move { running.failed().await }),
                })
            }
        }
    };
}

/// SQLite and PostgreSQL are asked in the same words.
const PUT: &str = "INSERT INTO {profiles} (user_id, profile, pos) VALUES ($1, $2, $3) \
     ON CONFLICT (user_id) DO UPDATE SET profile = excluded.profile, pos = excluded.pos";
const ONE: &str = "SELECT profile, pos FROM profiles WHERE user_id = $1";
const PAGE: &str = "SELECT user_id, profile FROM profiles WHERE profile IS NOT NULL AND user_id > $1 ORDER BY user_id LIMIT $2";

database!(of_sqlite, sqlx::Sqlite, super::PUT, super::ONE, super::PAGE);
#[cfg(feature = "postgres")]
database!(
    of_postgres,
    sqlx::Postgres,
    super::PUT,
    super::ONE,
    super::PAGE
);
#[cfg(feature = "mysql")]
database!(
    of_mysql,
    sqlx::MySql,
    "INSERT INTO {profiles} (user_id, profile, pos) VALUES (?, ?, ?) \
     ON DUPLICATE KEY UPDATE profile = VALUES(profile), pos = VALUES(pos)",
    "SELECT profile, pos FROM profiles WHERE user_id = ?",
    "SELECT user_id, profile FROM profiles WHERE profile IS NOT NULL AND user_id > ? ORDER BY user_id LIMIT ?"
);
