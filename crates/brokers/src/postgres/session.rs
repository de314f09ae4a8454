//! A session of a PostgreSQL server, of which nothing is known yet.

use std::future::poll_fn;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};

use super::Place;
use super::encrypted::Encryption;
use super::failure::failure;
use crate::error::Result;
use crate::shared_log::Address;
use crate::socket;

/// A session. Ends when it is dropped, with all that is under way.
pub(super) struct Session {
    pub(super) client: Client,
    /// Our end of the connection.
    pub(super) port: u16,
    /// Counts notifications; closed when the connection has ended.
    pub(super) notices: watch::Receiver<u64>,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// Connects and logs in. Takes as long as the server and the system do, so limit it.
    pub(super) async fn open(place: &Place, address: &Address) -> Result<Self> {
        let server = &place.server;
        let mut config = Config::new();
        config.application_name("ensue");
        if let Some(login) = &server.login {
            config.user(&login.user).password(&login.password);
            // As PostgreSQL's own clients do.
            config.dbname(match server.path.as_str() {
                "" => &login.user,
                path => path,
            });
        }
        let stream = socket::open(server, address).await?;
        let here = stream.local_addr();
        let port = here.map_err(|error| server.unavailable(error))?.port();
        let failed = |error| failure(server, &error);
        Ok(match &place.encryption {
            None => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) =
                    config.connect_raw(stream, NoTls).await.map_err(failed)?;
                drive(client, connection, port)
            }
            Some(encryption) => {
                config.ssl_mode(SslMode::Require);
                let encryption = Encryption {
                    config: encryption.clone(),
                    host: address.host.clone(),
                };
                let connected = config.connect_raw(stream, encryption).await;
                let (client, connection) = connected.map_err(failed)?;
                drive(client, connection, port)
            }
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.client.is_closed() && !self.driver.is_finished()
    }
}

fn drive<S, T>(client: Client, mut connection: Connection<S, T>, port: u16) -> Session
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (notify, notices) = watch::channel(0_u64);
    let driver = tokio::spawn(async move {
        // Notices for people are dropped; errors reach the call that waits for an answer.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message {
                notify.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    });
    Session {
        client,
        port,
        notices,
        driver,
    }
}
