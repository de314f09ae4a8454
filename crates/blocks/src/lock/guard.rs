//! The guard for data in an SQL database, whichever server keeps the locks.
//!
//! A *fence* is a row for each thing that locks protect, with the largest token that has written. In the
//! transaction that writes, claim the fence first: no row comes back if a later holder has written before, and
//! then the transaction is rolled back. The row stays locked until the commit, so that a later holder's
//! transaction waits for it.
//!
//! ```
//! use ensue_blocks::lock::{FencingToken, guard};
//!
//! # async fn f(client: &mut tokio_postgres::Client, token: FencingToken) -> Result<bool, tokio_postgres::Error> {
//! client.batch_execute(guard::MAKE_FENCES).await?;
//!
//! let transaction = client.transaction().await?;
//! let claimed = transaction.query(guard::CLAIM_FENCE, &[&"reports", &token.to_i64()]).await?;
//! if claimed.is_empty() {
//!     return Ok(false); // fenced: another holder has written
//! }
//! transaction.execute("INSERT INTO reports VALUES (now())", &[]).await?;
//! transaction.commit().await?;
//! # Ok(true)
//! # }
//! ```

/// The table of fences, for PostgreSQL and SQLite; elsewhere with the database's own types.
pub const MAKE_FENCES: &str = "CREATE TABLE IF NOT EXISTS ensue_fences \
     (name text PRIMARY KEY, token bigint NOT NULL)";

/// Claims the fence `$1` with the token `$2`: one row, or none if a larger token has written. For PostgreSQL and
/// SQLite.
pub const CLAIM_FENCE: &str = "INSERT INTO ensue_fences AS fence (name, token) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE fence.token <= excluded.token \
     RETURNING token";
