//! Connections to servers that keep no log: for building blocks, which speak their protocols.

use std::fmt;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::Url;
use crate::error::{Error, Result};
use crate::shared_log::{Address, Server};
use crate::socket;

/// Bytes to and from a server.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for S {}

/// Where a server is, and how to get to it: `scheme://user:password@host:port,host:port/path?tls=true`.
pub struct Dialer {
    server: Server,
    encryption: Option<Arc<rustls::ClientConfig>>,
}

impl Dialer {
    /// Takes a URL apart; `port` is the usual one.
    ///
    /// # Errors
    /// [`OpenError::Url`](crate::error::OpenError::Url) says what is wrong with it,
    /// [`EngineError::Io`](crate::error::EngineError::Io) which of its files cannot be used.
    pub fn of(url: &str, scheme: &str, port: u16) -> Result<Self> {
        let url = Url::parse(url)?;
        if url.scheme != scheme {
            return Err(url.invalid(format!("write `{scheme}://host:{port}`")));
        }
        let known = ["tls", "ca", "cert", "key", "password_file"];
        let mut names = url.options.iter().map(|(name, _)| name.as_str());
        if let Some(other) = names.find(|name| !known.contains(name)) {
            let known = known.join("`, `");
            return Err(url.invalid(format!("there is no option `{other}`; there are `{known}`")));
        }
        let server = Server::of(&url, port)?;
        Ok(Self {
            encryption: server.tls.as_ref().map(socket::encryption).transpose()?,
            server,
        })
    }

    /// As [`Self::of`], for servers whose protocol here knows neither a user nor a path.
    ///
    /// # Errors
    /// As for [`Self::of`]; [`OpenError::Unfit`](crate::error::OpenError::Unfit) when the URL has one of both.
    pub fn of_anonymous(url: &str, scheme: &str, port: u16) -> Result<Self> {
        let dialer = Self::of(url, scheme, port)?;
        if dialer.server.login.is_some() || !dialer.server.path.is_empty() {
            return Err(dialer.server.unfit(
                "the URL has a user or a path",
                "leave them out: neither is supported",
            ));
        }
        Ok(dialer)
    }

    /// The parts of the URL, and its errors.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Connects to the first address where that works, within 5 s.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable), and
    /// [`OpenError::Unfit`](crate::error::OpenError::Unfit) when there is no agreement on encryption.
    pub async fn dial(&self) -> Result<Box<dyn Connection>> {
        let (connection, _) = self.dial_with_address().await?;
        Ok(connection)
    }

    /// As [`Self::dial`], and which of the addresses it is.
    ///
    /// # Errors
    /// As for [`Self::dial`].
    pub async fn dial_with_address(&self) -> Result<(Box<dyn Connection>, Address)> {
        let open = async |address| self.open(address).await;
        socket::first_fit(&self.server, socket::soon(), open).await
    }

    async fn open(&self, address: &Address) -> Result<(Box<dyn Connection>, Address)> {
        let stream = socket::open(&self.server, address).await?;
        let Some(encryption) = &self.encryption else {
            return Ok((Box::new(stream), address.clone()));
        };
        let stream = socket::encrypt(encryption, &address.host, stream).await;
        let stream = stream.map_err(|error| socket::refusal(&self.server, &error))?;
        Ok((Box::new(stream), address.clone()))
    }

    /// The error of a server that is away.
    pub fn unavailable(&self, reason: impl fmt::Display) -> Error {
        self.server.unavailable(reason)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("server", &self.server.shown)
            .finish_non_exhaustive()
    }
}
