//! The tables that Ensue keeps in a program's database: who is how far, and which version of a projection
//! is read.
//!
//! What uses them creates them when it starts. A program whose role may not create tables puts
//! [`statements`] into its own migrations.
//!
//! | table | a row is |
//! | --- | --- |
//! | `ensue_projection` | one version of a projection: who builds it, how far the log is, whether it is the one that is read |
//! | `ensue_position` | a position: what comes before it in the log is in the database |
//! | `ensue_aside` | a key with a position of its own, because one of its events could not be applied |

use sqlx::Pool;

use crate::database::Database;
use crate::error::Result;

/// The longest name of a consumer of this database, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 200;

/// The versions of projections.
pub(crate) const PROJECTION: &str = "ensue_projection";
/// The positions.
pub(crate) const POSITION: &str = "ensue_position";
/// The keys with positions of their own.
pub(crate) const ASIDE: &str = "ensue_aside";

/// What creates the tables, unless they are there: a statement for each.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// for statement in ensue_sql::tables::statements::<sqlx::Postgres>() {
///     println!("{statement};");
/// }
/// ```
pub fn statements<DB: Database>() -> Vec<String> {
    let name = DB::key_type(NAME_BYTES_MAX);
    let topic = DB::key_type(ensue::TOPIC_BYTES_MAX);
    let key = DB::key_type(ensue::KEY_BYTES_MAX);
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {PROJECTION} (\
             name {name} NOT NULL, version BIGINT NOT NULL, revision BIGINT NOT NULL, \
             is_active BIGINT NOT NULL, is_retired BIGINT NOT NULL, owner VARCHAR(255), \
             epoch BIGINT NOT NULL, beat BIGINT NOT NULL, log_end BIGINT NOT NULL, \
             tables VARCHAR(4000) NOT NULL, \
             PRIMARY KEY (name, version))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {POSITION} (\
             name {name} NOT NULL, lane BIGINT NOT NULL, pos BIGINT NOT NULL, \
             epoch BIGINT NOT NULL, claims BIGINT NOT NULL, last_pos BIGINT, last_hash BIGINT, \
             hold BIGINT, hold_beat BIGINT NOT NULL, \
             PRIMARY KEY (name, lane))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {ASIDE} (\
             name {name} NOT NULL, topic {topic} NOT NULL, event_key {key} NOT NULL, \
             pos BIGINT NOT NULL, until BIGINT NOT NULL, epoch BIGINT NOT NULL, \
             PRIMARY KEY (name, topic, event_key))"
        ),
    ]
}

/// Creates the tables, unless they are there. Several programs may do so at once.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database), when the role may not create tables, say.
pub async fn create<DB: Database>(pool: &Pool<DB>) -> Result<()> {
    create_all(pool, statements::<DB>()).await
}

/// Runs statements that create what is not there yet.
pub(crate) async fn create_all<DB: Database>(
    pool: &Pool<DB>,
    statements: Vec<String>,
) -> Result<()> {
    let mut connection = pool.acquire().await?;
    for statement in statements {
        let created = DB::run(&mut connection, statement.clone()).await;
        if created.is_err() {
            // On PostgreSQL, of two that create a table one may be told that it exists.
            DB::run(&mut connection, statement).await?;
        }
    }
    Ok(())
}
