//! Event sourcing as it is done without a framework: a table in PostgreSQL whose key is a stream and a version. The
//! insert is a transaction by itself, prepared, and several workers' are in a pipeline on each connection.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::{Client, NoTls, Statement};

use super::deposits::{Accounts, TYPE, payload};
use crate::Outcome;
use crate::load::Worker;

/// Of PostgreSQL's usual 100.
const CONNECTIONS_MAX: usize = 64;

/// A table, and the connections to it.
pub(super) struct EventTable {
    name: String,
    clients: Vec<Arc<(Client, Statement)>>,
}

impl EventTable {
    pub(super) async fn create(url: &str, workers: usize) -> Outcome<Self> {
        let name = format!("bench_events_{:012x}", fastrand::u64(..) >> 16);
        let create = format!(
            "CREATE TABLE {name} (position BIGINT GENERATED ALWAYS AS IDENTITY, stream TEXT NOT NULL, \
             version BIGINT NOT NULL, type TEXT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (stream, version))"
        );
        let insert =
            format!("INSERT INTO {name} (stream, version, type, data) VALUES ($1, $2, $3, $4)");
        let mut clients = Vec::new();
        for number in 0..workers.min(CONNECTIONS_MAX) {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            // It ends with its client; errors reach who asks.
            tokio::spawn(async move { drop(connection.await) });
            if number == 0 {
                client.batch_execute(&create).await?;
            }
            let statement = client.prepare(&insert).await?;
            clients.push(Arc::new((client, statement)));
        }
        Ok(Self { name, clients })
    }

    pub(super) fn workers(&self, count: usize) -> Vec<Inserting> {
        let clients = self.clients.iter().cycle().take(count);
        let inserting = |(worker, client): (usize, &Arc<_>)| Inserting {
            client: Arc::clone(client),
            accounts: Accounts::of(worker),
            versions: HashMap::new(),
        };
        clients.enumerate().map(inserting).collect()
    }

    pub(super) async fn remove(self) -> Outcome<()> {
        if let Some(client) = self.clients.first() {
            let drop = format!("DROP TABLE {}", self.name);
            client.0.batch_execute(&drop).await?;
        }
        Ok(())
    }
}

pub(super) struct Inserting {
    client: Arc<(Client, Statement)>,
    accounts: Accounts,
    versions: HashMap<String, i64>,
}

impl Worker for Inserting {
    async fn step(&mut self) -> Outcome<usize> {
        let key = self.accounts.next();
        let version = self.versions.get(&key).map_or(1, |version| version + 1);
        let (client, insert) = &*self.client;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&key, &version, &TYPE, &payload()?];
        client.execute(insert, &values).await?;
        self.versions.insert(key, version);
        Ok(1)
    }
}
