//! What operators do with projections: all of it in the database, as the code is in the programs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::Pool;

use super::compare::{self, Comparison};
use super::names;
use super::position;
use super::running::unknown;
use super::switch;
use super::version::{self, Version};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::tables;

/// A version of a projection, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionStatus {
    /// The projection.
    pub projection: String,
    /// The version: what its tables' names end with.
    pub version: i64,
    /// Which code builds it.
    pub revision: i64,
    /// Whether it is the one that is read.
    pub is_active: bool,
    /// Whether nobody builds it any more.
    pub is_retired: bool,
    /// Its group in the engine: there are its lag and its dead letters.
    pub group: String,
    /// Which process builds it; `None` if none does.
    pub owner: Option<String>,
    /// In so many lanes; 0 before it begins.
    pub lanes: usize,
    /// What comes before it in the log is in its tables.
    pub position: i64,
    /// Where the log ended when its owner looked last.
    pub log_end: i64,
    /// How many keys wait behind an event that could not be applied.
    pub aside: usize,
    /// Its tables, as they are read.
    pub tables: Vec<String>,
}

/// The projections of a database, for operators and programs: what is built, comparing, switching.
///
/// ```no_run
/// # async fn run() -> ensue_sql::Result<()> {
/// let projections = ensue_sql::Projections::connect("postgres://localhost/shop").await?;
/// let version = projections.rebuild("orders").await?; // the program that runs it begins
/// // … once it has caught up:
/// let comparison = projections.compare("orders", [1, version], std::time::Duration::from_secs(60)).await?;
/// if comparison.is_equal() {
///     projections.switch("orders", version, false).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Projections(Arc<dyn Operator>);

impl Projections {
    /// The projections of a pool's database.
    pub fn of<DB: Database>(pool: Pool<DB>) -> Self {
        Self(Arc::new(pool))
    }

    /// Connects to the database that `url` names: `postgres://`, `mysql://` (or `mariadb://`) or `sqlite:`.
    ///
    /// # Errors
    /// [`Error::Url`] when there is no such database, or its feature is not compiled in;
    /// [`Error::Database`] when it cannot be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => open::<sqlx::Postgres>(url).await,
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => open::<sqlx::MySql>(url).await,
            #[cfg(feature = "sqlite")]
            "sqlite" => open::<sqlx::Sqlite>(url).await,
            _ => Err(Error::Url {
                scheme: scheme.chars().take(40).collect(),
            }),
        }
    }

    /// All versions of all projections, or of one, retired ones included.
    ///
    /// # Errors
    /// [`Error::UnknownProjection`], and what the database reports.
    pub async fn list(&self, projection: Option<&str>) -> Result<Vec<VersionStatus>> {
        self.0.list(projection).await
    }

    /// Asks for another version of the tables, built from the beginning of the log by the code that builds the one
    /// that is read: the program that runs that begins within a second or so. Returns its number.
    ///
    /// # Errors
    /// [`Error::UnknownProjection`]; [`Error::Projection`] while another one is built; what the database
    /// reports.
    pub async fn rebuild(&self, projection: &str) -> Result<i64> {
        self.0.rebuild(projection).await
    }

    /// Compares two versions at one position: how many rows their tables have, and a sum over them. Neither goes
    /// on meanwhile, for `within` at the most.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`]; [`Error::Behind`] before one has caught up; [`Error::NotComparable`] when they do
    /// not come to one position in time; what the database reports.
    pub async fn compare(
        &self,
        projection: &str,
        versions: [i64; 2],
        within: Duration,
    ) -> Result<Comparison> {
        self.0.compare(projection, versions, within).await
    }

    /// Makes a version the one that is read: its tables are seen under their plain names, in one step (on
    /// MySQL one view after the other, as it has no transactions over them). The version before goes on to be
    /// built, and can be switched back to. It is refused while the version is far behind, unless `is_forced`.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], [`Error::Retired`], [`Error::Behind`]; what the database reports.
    pub async fn switch(&self, projection: &str, version: i64, is_forced: bool) -> Result<()> {
        self.0.switch(projection, version, is_forced).await
    }

    /// Ends a version that is not read: nobody builds it any more, and nobody can switch to it. Its tables, and
    /// its group in the engine, are the operator's to remove.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`]; [`Error::Projection`] if it is the one that is read; what the database
    /// reports.
    pub async fn retire(&self, projection: &str, version: i64) -> Result<()> {
        self.0.retire(projection, version).await
    }
}

impl fmt::Debug for Projections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projections").finish_non_exhaustive()
    }
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
async fn open<DB: Database>(url: &str) -> Result<Projections> {
    let options = sqlx::pool::PoolOptions::<DB>::new().max_connections(2);
    let pool = options.connect(url).await?;
    Ok(Projections::of(pool))
}

/// The same for every database.
trait Operator: Send + Sync {
    fn list<'a>(&'a self, projection: Option<&'a str>)
    -> BoxFuture<'a, Result<Vec<VersionStatus>>>;
    fn rebuild<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<i64>>;
    fn compare<'a>(
        &'a self,
        projection: &'a str,
        versions: [i64; 2],
        within: Duration,
    ) -> BoxFuture<'a, Result<Comparison>>;
    fn switch<'a>(
        &'a self,
        projection: &'a str,
        version: i64,
        is_forced: bool,
    ) -> BoxFuture<'a, Result<()>>;
    fn retire<'a>(&'a self, projection: &'a str, version: i64) -> BoxFuture<'a, Result<()>>;
}

impl<DB: Database> Operator for Pool<DB> {
    fn list<'a>(
        &'a self,
        projection: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<VersionStatus>>> {
        Box::pin(list(self, projection))
    }

    fn rebuild<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<i64>> {
        Box::pin(rebuild(self, projection))
    }

    fn compare<'a>(
        &'a self,
        projection: &'a str,
        versions: [i64; 2],
        within: Duration,
    ) -> BoxFuture<'a, Result<Comparison>> {
        Box::pin(compare::compare(self, projection, versions, within))
    }

    fn switch<'a>(
        &'a self,
        projection: &'a str,
        version: i64,
        is_forced: bool,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(switch::switch(self, projection, version, is_forced))
    }

    fn retire<'a>(&'a self, projection: &'a str, version: i64) -> BoxFuture<'a, Result<()>> {
        Box::pin(retire(self, projection, version))
    }
}

async fn list<DB: Database>(
    pool: &Pool<DB>,
    projection: Option<&str>,
) -> Result<Vec<VersionStatus>> {
    tables::create(pool).await?;
    let mut connection = pool.acquire().await?;
    let versions = version::versions::<DB>(&mut connection, projection, false).await?;
    if let Some(projection) = projection.filter(|_| versions.is_empty()) {
        return Err(unknown::<DB>(&mut connection, projection).await?);
    }
    let mut all = Vec::new();
    for version in versions {
        let group = names::group(&version.projection, version.version);
        let lanes = position::lanes::<DB>(&mut connection, &group).await?;
        let aside = position::aside::<DB>(&mut connection, &group).await?;
        all.push(VersionStatus {
            position: lanes.iter().map(|lane| lane.position).min().unwrap_or(0),
            lanes: lanes.len(),
            aside: aside.len(),
            group,
            projection: version.projection,
            version: version.version,
            revision: version.revision,
            is_active: version.is_active,
            is_retired: version.is_retired,
            owner: version.owner,
            log_end: version.log_end,
            tables: version.tables,
        });
    }
    Ok(all)
}

async fn rebuild<DB: Database>(pool: &Pool<DB>, projection: &str) -> Result<i64> {
    tables::create(pool).await?;
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let all = version::versions::<DB>(&mut transaction, Some(projection), true).await?;
    let Some(active) = all.iter().find(|version| version.is_active) else {
        return Err(unknown::<DB>(&mut transaction, projection).await?);
    };
    let is_built = |it: &&Version| it.version > active.version && !it.is_retired;
    if let Some(other) = all.iter().find(is_built) {
        return Err(Error::Projection {
            projection: projection.to_owned(),
            problem: format!(
                "version {} is being built: switch to it, or retire it, before another one",
                other.version
            ),
        });
    }
    let (revision, tables) = (active.revision, &active.tables);
    let version = version::add::<DB>(&mut transaction, projection, revision, tables, &all).await?;
    transaction.commit().await?;
    Ok(version)
}

async fn retire<DB: Database>(pool: &Pool<DB>, projection: &str, number: i64) -> Result<()> {
    tables::create(pool).await?;
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let all = version::versions::<DB>(&mut transaction, Some(projection), true).await?;
    let version = version::find(all, projection, number)?;
    if version.is_active {
        return Err(Error::Projection {
            projection: projection.to_owned(),
            problem: format!("version {number} is the one that is read: switch to another first"),
        });
    }
    version::retire::<DB>(&mut transaction, projection, number).await?;
    transaction.commit().await?;
    Ok(())
}
