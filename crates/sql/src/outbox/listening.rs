//! Being woken by the database, where it can do that: PostgreSQL, by `LISTEN`.

use sqlx::Pool;

use crate::database::Database;

/// A connection of its own on which the database says that there is something.
#[derive(Default)]
pub(super) struct Listening {
    #[cfg(feature = "postgres")]
    listener: Option<sqlx::postgres::PgListener>,
    /// Whether that was tried.
    is_settled: bool,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "postgres")]
impl Listening {
    /// Begins, once, if the database can and the pool has a connection to spare. Otherwise it is polled.
    pub(super) async fn begin<DB: Database>(&mut self, pool: &Pool<DB>) {
        use super::schema::CHANNEL;

        let any: &dyn std::any::Any = pool;
        let Some(pool) = any.downcast_ref::<sqlx::PgPool>() else {
            return;
        };
        if std::mem::replace(&mut self.is_settled, true) || pool.options().get_max_connections() < 2
        {
            return;
        }
        let listened = async {
            let mut listener = sqlx::postgres::PgListener::connect_with(pool).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        match listened.await {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => tracing::warn!(%error, "cannot listen to the database: it is polled"),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.listener.is_some()
    }

    /// Completes when the database says that there is something. Cancel-safe.
    pub(super) async fn heard(&mut self) {
        let Some(listener) = &mut self.listener else {
            return std::future::pending().await;
        };
        // What was said while the connection was lost is not heard: `None`.
        if let Err(error) = listener.try_recv().await {
            tracing::warn!(%error, "the database is not heard any more: it is polled");
            self.listener = None;
            self.is_settled = false;
        }
    }
}

#[cfg(not(feature = "postgres"))]
impl Listening {
    #[expect(
        clippy::unused_async,
        reason = "where a database can wake, it connects"
    )]
    pub(super) async fn begin<DB: Database>(&mut self, _pool: &Pool<DB>) {
        self.is_settled = true;
    }

    pub(super) fn is_on(&self) -> bool {
        false
    }

    pub(super) async fn heard(&mut self) {
        std::future::pending().await
    }
}
