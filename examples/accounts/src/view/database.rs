//! Profiles as rows: what each database is asked.

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
    (user_id VARCHAR(64) PRIMARY KEY, name TEXT, about TEXT, pos BIGINT NOT NULL)";
const PUT: &str = "INSERT INTO {profiles} (user_id, name, about, pos) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, about = excluded.about, pos = excluded.pos";
const ONE: &str = "SELECT name, about, pos FROM profiles WHERE user_id = $1";
const PAGE: &str = "SELECT user_id, name, about FROM profiles \
    WHERE name IS NOT NULL AND user_id > $1 ORDER BY user_id LIMIT $2";
/// The projection, and its table.
const NAME: &str = "profiles";

/// Why the view has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// No database has such a URL.
    #[error(
        "the database `{0}`: expected is sqlite:FILE, or postgres://… with the feature `postgres`"
    )]
    Unknown(String),
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
    fn row(&self, user: String) -> BoxFuture<'_, Result<Row, sqlx::Error>>;

    /// Waits until the row of the event at this position is there.
    fn applied(
        &self,
        engine: Engine,
        position: Position,
        at_most: Duration,
    ) -> BoxFuture<'_, ensue_sql::Result<()>>;

    /// The profiles of the users behind this one, by name.
    fn page(
        &self,
        after: String,
        limit: i64,
    ) -> BoxFuture<'_, Result<Vec<(String, Profile)>, sqlx::Error>>;
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
    // A URL may have a password: only what comes before it is said.
    let scheme = url.split(':').next().unwrap_or_default();
    Err(ViewError::Unknown(format!("{scheme}:…")))
}

async fn sqlite(engine: &Engine, url: &str) -> Result<Opened, ViewError> {
    let options = sqlx::sqlite::SqliteConnectOptions::from_str(url)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    let pool = sqlx::SqlitePool::connect_with(options).await?;
    of_sqlite::open(engine, pool).await
}

/// The same for each database: sqlx has a type of its own for each.
macro_rules! database {
    ($room:ident, $database:ty) => {
        mod $room {
            use super::*;

            struct Writer;

            impl Writer {
                async fn published(
                    &self,
                    sql: &mut Sql<$database>,
                    event: ProfilePublished,
                ) -> sqlx::Result<()> {
                    let profile = Some((event.name, event.about));
                    put(sql, event.user.as_str(), profile).await
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
                profile: Option<(String, String)>,
            ) -> sqlx::Result<()> {
                let position = sql.position().map_or(0, Position::get);
                let (name, about) = profile.unzip();
                let put = sql.query(PUT).bind(user.to_owned()).bind(name).bind(about);
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

                fn row(&self, user: String) -> BoxFuture<'_, Result<Row, sqlx::Error>> {
                    Box::pin(async move {
                        type Found = (Option<String>, Option<String>, i64);
                        let found = sqlx::query_as::<_, Found>(ONE).bind(user);
                        let Some((name, about, position)) = found.fetch_optional(self).await?
                        else {
                            return Ok((Position::ZERO, None));
                        };
                        let profile = name.zip(about);
                        let profile = profile.map(|(name, about)| Profile { name, about });
                        Ok((Position::new(position as u64), profile))
                    })
                }

                fn page(
                    &self,
                    after: String,
                    limit: i64,
                ) -> BoxFuture<'_, Result<Vec<(String, Profile)>, sqlx::Error>> {
                    Box::pin(async move {
                        let page = sqlx::query_as::<_, (String, String, String)>(PAGE);
                        let page = page
                            .bind(after)
                            .bind(limit)
                            .fetch_all(self)
                            .await?
                            .into_iter();
                        let page = page.map(|(user, name, about)| (user, Profile { name, about }));
                        Ok(page.collect())
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

database!(of_sqlite, sqlx::Sqlite);
#[cfg(feature = "postgres")]
database!(of_postgres, sqlx::Postgres);
