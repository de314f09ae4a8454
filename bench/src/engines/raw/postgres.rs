//! One row for each message and a commit for each, in a pipeline on one connection, which keeps
//! their order; a notification wakes the reader, whose position is a row.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client as Session, NoTls, Statement};

use super::{Client, Reader};
use crate::Outcome;

struct Postgres {
    url: String,
    session: Session,
    insert: Statement,
    table: String,
    name: String,
}

struct Reading {
    session: Session,
    commits: Arc<(Session, Statement)>,
    select: Statement,
    notified: Arc<Notify>,
    position: i64,
}

pub(super) async fn connect(url: String, name: String) -> Outcome<Box<dyn Client>> {
    let (session, _) = open(&url).await?;
    let table = format!("bench_{name}");
    let create = format!(
        "CREATE TABLE {table} (sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         body BYTEA NOT NULL); \
         ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL; \
         CREATE TABLE {table}_position (sequence BIGINT NOT NULL); \
         INSERT INTO {table}_position VALUES (0)"
    );
    session.batch_execute(&create).await?;
    let insert = format!(
        "WITH inserted AS (INSERT INTO {table} (body) VALUES ($1)) SELECT pg_notify('{table}', '')"
    );
    Ok(Box::new(Postgres {
        insert: session.prepare(&insert).await?,
        url,
        session,
        table,
        name,
    }))
}

/// A session, and what its notifications wake.
async fn open(url: &str) -> Outcome<(Session, Arc<Notify>)> {
    let (session, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let notified = Arc::new(Notify::new());
    let wake = Arc::clone(&notified);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                wake.notify_one();
            }
        }
    });
    Ok((session, notified))
}

impl Client for Postgres {
    fn publish(&self, message: Bytes) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            self.session.query(&self.insert, &[&&message[..]]).await?;
            Ok(())
        })
    }

    fn reader(&self) -> BoxFuture<'_, Outcome<Box<dyn Reader>>> {
        Box::pin(async {
            let table = &self.table;
            let (session, notified) = open(&self.url).await?;
            session.batch_execute(&format!("LISTEN {table}")).await?;
            let select = format!(
                "SELECT sequence, body FROM {table} WHERE sequence > $1 ORDER BY sequence LIMIT $2"
            );
            let select = session.prepare(&select).await?;
            let (commits, _) = open(&self.url).await?;
            let update = format!("UPDATE {table}_position SET sequence = $1");
            let update = commits.prepare(&update).await?;
            Ok(Box::new(Reading {
                session,
                commits: Arc::new((commits, update)),
                select,
                notified,
                position: 0,
            }) as Box<dyn Reader>)
        })
    }

    fn remove(&self) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async {
            let (table, name) = (&self.table, &self.name);
            let drop = format!(
                "DROP TABLE {table}, {table}_position; \
                 DROP TABLE IF EXISTS \"ensue_{name}_log\", \"ensue_{name}_end\""
            );
            Ok(self.session.batch_execute(&drop).await?)
        })
    }
}

impl Reader for Reading {
    fn next(&mut self, messages_max: usize) -> BoxFuture<'_, Outcome<Vec<Bytes>>> {
        Box::pin(async move {
            let limit = i64::try_from(messages_max)?;
            loop {
                let from: [&(dyn ToSql + Sync); 2] = [&self.position, &limit];
                let rows = self.session.query(&self.select, &from).await?;
                if let Some(last) = rows.last() {
                    self.position = last.try_get(0)?;
                    let body = |row: &tokio_postgres::Row| -> Outcome<Bytes> {
                        Ok(Bytes::copy_from_slice(row.try_get(1)?))
                    };
                    return rows.iter().map(body).collect();
                }
                self.notified.notified().await;
            }
        })
    }

    fn commit(&mut self) -> BoxFuture<'static, Outcome<()>> {
        let (commits, position) = (Arc::clone(&self.commits), self.position);
        Box::pin(async move {
            let (session, update) = &*commits;
            session.execute(update, &[&position]).await?;
            Ok(())
        })
    }
}
