//! The keys of what is personal, in a database: a row for each subject.
//!
//! What changes a row says which state of it was read: of two that change it at the same time one reads again. A
//! subject that was forgotten has a row without keys, for good.

use std::fmt;

use ensue::error::PersonalError;
use ensue::{KEY_BYTES_MAX, KeyLookup, KeyStore, SubjectKey};
use futures_util::future::BoxFuture;
use sqlx::Pool;

use crate::database::{Database, Row, Value};
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::tables::create_all;

const TABLE: &str = "ensue_keys";
/// The bytes of a key.
const KEY_BYTES: usize = 32;
/// The most keys that a subject may have: so often it can be rotated.
pub const KEYS_MAX: usize = 1_000;
/// How often a change is tried again because others have changed the subject meanwhile.
const CONFLICTS_MAX: u32 = 64;

/// Keys of subjects in PostgreSQL, MySQL, MariaDB or SQLite, for
/// [`Engine::with_keys`](ensue::Engine::with_keys): all processes that reach the database use the same.
///
/// The database is not that of the log (the engine `postgres://`), nor of a projection that is backed up for long:
/// a person whose keys come back from a backup was not forgotten. A database may keep the bytes of a key for a while
/// after it was destroyed: PostgreSQL until `VACUUM` and in its write-ahead log, SQLite without
/// `PRAGMA secure_delete`, all of them in backups and replicas.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// use ensue::prelude::*;
/// use ensue_sql::{SqlKeys, sqlx};
///
/// let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
/// let engine = Engine::open("memory:").await?.with_keys(SqlKeys::open(&pool).await?)?;
/// assert_eq!(engine.rotate_keys("u-1").await?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqlKeys<DB: Database> {
    pool: Pool<DB>,
}

/// What a row says.
enum Kept {
    Nothing,
    Forgotten,
    /// Number 1 first.
    Keys(Vec<SubjectKey>),
}

impl<DB: Database> SqlKeys<DB> {
    /// The keys in the database of this pool, whose table is made unless it is there.
    ///
    /// # Errors
    /// [`Error::Database`], when the role may not create tables, say.
    pub async fn open(pool: &Pool<DB>) -> Result<Self> {
        create_all(pool, Self::statements()).await?;
        Ok(Self { pool: pool.clone() })
    }

    /// What creates the table, for the program's own migrations.
    pub fn statements() -> Vec<String> {
        let subject = DB::key_type(KEY_BYTES_MAX);
        let bytes = Dialect::of::<DB>().bytes();
        vec![format!(
            "CREATE TABLE IF NOT EXISTS {TABLE} (\
             subject {subject} NOT NULL, newest BIGINT NOT NULL, secrets {bytes} NOT NULL, PRIMARY KEY (subject))"
        )]
    }

    async fn read(&self, subject: &str) -> Result<Kept, PersonalError> {
        let read = async {
            let mut connection = self.pool.acquire().await?;
            let select = format!("SELECT newest, secrets FROM {TABLE} WHERE subject = ?");
            let rows = DB::rows(&mut connection, select, [subject.into()]).await?;
            let Some(cells) = rows.into_iter().next() else {
                return Ok(Kept::Nothing);
            };
            let mut row = Row::new(TABLE, cells);
            let newest = row.integer()?;
            let secrets = row.optional_bytes()?.unwrap_or_default();
            if newest == 0 {
                return Ok(Kept::Forgotten);
            }
            let (secrets, rest) = secrets.as_chunks::<KEY_BYTES>();
            let is_whole = rest.is_empty() && i64::try_from(secrets.len()) == Ok(newest);
            if !is_whole {
                return Err(Error::Unreadable {
                    table: TABLE,
                    what: "keys that are not whole".to_owned(),
                    remedy: "put the row back from a backup, or forget the subject",
                });
            }
            let keys = (1..).zip(secrets);
            let keys = keys.map(|(number, bytes)| SubjectKey::new(number, *bytes));
            Ok(Kept::Keys(keys.collect()))
        };
        read.await.map_err(failed)
    }

    /// Puts a row in the place of what was read; whether that was there still.
    async fn replace(
        &self,
        subject: &str,
        before: &Kept,
        keys: &[SubjectKey],
    ) -> Result<bool, PersonalError> {
        let newest = Value::Integer(i64::try_from(keys.len()).unwrap_or(i64::MAX));
        let secrets: Vec<u8> = keys.iter().flat_map(|key| *key.bytes()).collect();
        let (secrets, subject) = (Value::Bytes(secrets), Value::from(subject));
        let (statement, values) = match before {
            Kept::Nothing => {
                let (insert, unless_there) = Dialect::of::<DB>().insert_unless_there();
                let columns = "(subject, newest, secrets) VALUES (?, ?, ?)";
                let statement = format!("{insert} {TABLE} {columns}{unless_there}");
                (statement, vec![subject, newest, secrets])
            }
            Kept::Forgotten => return Ok(false),
            Kept::Keys(before) => {
                let was = Value::Integer(i64::try_from(before.len()).unwrap_or(i64::MAX));
                let statement = format!(
                    "UPDATE {TABLE} SET newest = ?, secrets = ? WHERE subject = ? AND newest = ?"
                );
                (statement, vec![newest, secrets, subject, was])
            }
        };
        let write = async {
            let mut connection = self.pool.acquire().await?;
            DB::execute(&mut connection, statement, values).await
        };
        let changed = write.await.map_err(|error| failed(error.into()))?;
        Ok(changed == 1)
    }

    /// The newest key; another one if `another` says so, or if there is none.
    async fn make(&self, subject: &str, another: bool) -> Result<KeyLookup, PersonalError> {
        for _ in 0..CONFLICTS_MAX {
            let kept = self.read(subject).await?;
            let mut keys = match &kept {
                Kept::Forgotten => return Ok(KeyLookup::Forgotten),
                Kept::Nothing => Vec::new(),
                Kept::Keys(keys) => keys.clone(),
            };
            if let Some(newest) = keys.last().filter(|_| !another) {
                return Ok(KeyLookup::Key(newest.clone()));
            }
            if keys.len() == KEYS_MAX {
                let problem = format!("a subject has at most {KEYS_MAX} keys");
                return Err(unusable(problem, None));
            }
            let number = u32::try_from(keys.len() + 1).unwrap_or(u32::MAX);
            let key = SubjectKey::generate(number)?;
            keys.push(key.clone());
            if self.replace(subject, &kept, &keys).await? {
                return Ok(KeyLookup::Key(key));
            }
        }
        Err(contended())
    }

    async fn destroy(&self, subject: &str) -> Result<u32, PersonalError> {
        for _ in 0..CONFLICTS_MAX {
            let kept = self.read(subject).await?;
            let count = match &kept {
                Kept::Forgotten => return Ok(0),
                Kept::Nothing => 0,
                Kept::Keys(keys) => keys.len(),
            };
            if self.replace(subject, &kept, &[]).await? {
                return Ok(u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
        Err(contended())
    }
}

impl<DB: Database> KeyStore for SqlKeys<DB> {
    fn newest<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        Box::pin(self.make(subject, false))
    }

    fn key<'a>(
        &'a self,
        subject: &'a str,
        number: u32,
    ) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        Box::pin(async move {
            Ok(match self.read(subject).await? {
                Kept::Nothing => KeyLookup::Unknown,
                Kept::Forgotten => KeyLookup::Forgotten,
                Kept::Keys(keys) => {
                    let mut keys = keys.into_iter();
                    let key = keys.find(|key| key.number() == number);
                    key.map_or(KeyLookup::Unknown, KeyLookup::Key)
                }
            })
        })
    }

    fn rotate<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        Box::pin(self.make(subject, true))
    }

    fn forget<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        Box::pin(self.destroy(subject))
    }
}

impl<DB: Database> Clone for SqlKeys<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
        }
    }
}

impl<DB: Database> fmt::Debug for SqlKeys<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlKeys")
            .field("database", &DB::KIND)
            .finish_non_exhaustive()
    }
}

fn unusable(
    problem: impl Into<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
) -> PersonalError {
    PersonalError::Keys {
        problem: problem.into(),
        source,
    }
}

fn failed(error: Error) -> PersonalError {
    unusable("their database gives no answer", Some(Box::new(error)))
}

fn contended() -> PersonalError {
    unusable(
        "others change the keys of the subject again and again",
        None,
    )
}
