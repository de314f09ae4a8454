//! `XADD` on one connection for all; a consumer group reads, and acknowledges by id.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{AsyncConnectionConfig, Client as Server};

use super::{Client, Reader};
use crate::Outcome;

const GROUP: &str = "bench";
const FIELD: &str = "m";

struct Redis {
    server: Server,
    connection: MultiplexedConnection,
    key: String,
    name: String,
}

struct Reading {
    connection: MultiplexedConnection,
    /// Acknowledgements must not queue behind a read that waits.
    commits: MultiplexedConnection,
    key: String,
    read: Vec<String>,
}

pub(super) async fn connect(url: String, name: String) -> Outcome<Box<dyn Client>> {
    let server = Server::open(url)?;
    Ok(Box::new(Redis {
        connection: open(&server).await?,
        server,
        key: format!("bench:{name}"),
        name,
    }))
}

/// A read that waits has no deadline, which connections have unless they are told.
async fn open(server: &Server) -> Outcome<MultiplexedConnection> {
    let settings = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = server.get_multiplexed_async_connection_with_config(&settings);
    Ok(connection.await?)
}

impl Client for Redis {
    fn publish(&self, message: Bytes) -> BoxFuture<'_, Outcome<()>> {
        let mut connection = self.connection.clone();
        Box::pin(async move {
            let mut add = redis::cmd("XADD");
            add.arg(&self.key).arg("*").arg(FIELD).arg(&message[..]);
            let _id: String = add.query_async(&mut connection).await?;
            Ok(())
        })
    }

    fn reader(&self) -> BoxFuture<'_, Outcome<Box<dyn Reader>>> {
        Box::pin(async {
            let mut connection = open(&self.server).await?;
            let mut create = redis::cmd("XGROUP");
            create.arg("CREATE").arg(&self.key).arg(GROUP).arg(0);
            create.arg("MKSTREAM");
            let () = create.query_async(&mut connection).await?;
            Ok(Box::new(Reading {
                connection,
                commits: open(&self.server).await?,
                key: self.key.clone(),
                read: Vec::new(),
            }) as Box<dyn Reader>)
        })
    }

    fn remove(&self) -> BoxFuture<'_, Outcome<()>> {
        let mut connection = self.connection.clone();
        Box::pin(async move {
            let mut delete = redis::cmd("UNLINK");
            delete.arg(&self.key);
            delete.arg(format!("ensue:{{{}}}:log", self.name));
            let () = delete.query_async(&mut connection).await?;
            Ok(())
        })
    }
}

impl Reader for Reading {
    fn next(&mut self, messages_max: usize) -> BoxFuture<'_, Outcome<Vec<Bytes>>> {
        Box::pin(async move {
            let mut read = redis::cmd("XREADGROUP");
            read.arg("GROUP").arg(GROUP).arg("one");
            read.arg("COUNT").arg(messages_max).arg("BLOCK").arg(0);
            read.arg("STREAMS").arg(&self.key).arg(">");
            let reply: StreamReadReply = read.query_async(&mut self.connection).await?;
            let mut bodies = Vec::new();
            for entry in reply.keys.into_iter().flat_map(|stream| stream.ids) {
                let body: Option<Vec<u8>> = entry.get(FIELD);
                bodies.push(body.ok_or("an entry has no body")?.into());
                self.read.push(entry.id);
            }
            Ok(bodies)
        })
    }

    fn commit(&mut self) -> BoxFuture<'static, Outcome<()>> {
        let mut connection = self.commits.clone();
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(&self.key).arg(GROUP);
        acknowledge.arg(std::mem::take(&mut self.read));
        Box::pin(async move {
            let () = acknowledge.query_async(&mut connection).await?;
            Ok(())
        })
    }
}
