//! TLS for connections to PostgreSQL, which begin in plain.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect};

use crate::socket;

/// How to encrypt a connection once the server has agreed.
pub(super) struct Encryption {
    pub(super) config: Arc<ClientConfig>,
    pub(super) host: String,
}

pub(super) struct Encrypted(tokio_rustls::client::TlsStream<TcpStream>);

impl TlsConnect<TcpStream> for Encryption {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Encrypted>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let encrypted = socket::encrypt(&self.config, &self.host, stream).await;
            encrypted.map(Encrypted)
        })
    }
}

impl tokio_postgres::tls::TlsStream for Encrypted {
    /// None: the certificate is checked against the authorities that we trust, which is what binding stands in for.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
