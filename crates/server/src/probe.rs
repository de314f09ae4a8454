//! Asks a server of this machine whether it lives, or is ready: for health checks that have no other client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Config;

/// How much of an answer is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process answers (`/livez`).
    Live,
    /// Whether it can be sent requests (`/readyz`).
    Ready,
}

/// Why a server is not ready, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// It answered that it is not.
    #[error("the server at {address} answered {status}: {body}")]
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// The status of the answer.
        status: u16,
        /// What it says, in short.
        body: String,
    },
    /// There is no answer, or none of HTTP.
    #[error("the server at {address} does not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// What happened.
        reason: io::Error,
    },
    /// There was no answer in time.
    #[error("the server at {address} did not answer within {timeout:?}")]
    Timeout {
        /// Where it is.
        address: SocketAddr,
        /// How long was waited.
        timeout: Duration,
    },
}

impl Probe {
    fn path(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Ready => "/readyz",
        }
    }

    /// Asks the server that was started with this configuration on this machine. With TLS it may show any
    /// certificate whose key it has: the connection stays on this machine, and nothing secret goes over it.
    /// The one of the file may be another by now, or none: a server goes on with the last one that it could
    /// use, and one that serves well is not to be restarted for that.
    ///
    /// # Errors
    /// [`ProbeError`] when it is not, when it does not answer, or not within `timeout`.
    pub async fn ask(self, config: &Config, timeout: Duration) -> Result<(), ProbeError> {
        let address = reachable(config.listen.get());
        match tokio::time::timeout(timeout, self.ask_at(config, address)).await {
            Ok(answered) => answered,
            Err(_) => Err(ProbeError::Timeout { address, timeout }),
        }
    }

    async fn ask_at(self, config: &Config, address: SocketAddr) -> Result<(), ProbeError> {
        let unreachable = |reason| ProbeError::Unreachable { address, reason };
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        let answer = match &config.tls {
            None => self.exchange(stream).await,
            Some(_) => {
                let client = trusting().map_err(io::Error::other).map_err(unreachable)?;
                let name = ServerName::IpAddress(address.ip().into());
                let stream = TlsConnector::from(Arc::new(client)).connect(name, stream);
                self.exchange(stream.await.map_err(unreachable)?).await
            }
        };
        let answer = answer.map_err(unreachable)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        match status {
            Some(200) => Ok(()),
            Some(status) => Err(ProbeError::Refused {
                address,
                status,
                body: body.trim().chars().take(500).collect(),
            }),
            None => Err(unreachable(io::Error::other("what it says is not HTTP"))),
        }
    }

    /// Sends the request, and reads until the server closes the connection.
    async fn exchange(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
        let path = self.path();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
        match read {
            // Over TLS, an end without a farewell is an error; the answer is there all the same.
            Err(error) if answer.is_empty() => Err(error),
            _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
        }
    }
}

/// Where a server is reached that listens for all addresses of a machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A client that takes any certificate.
fn trusting() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting { provider }))
        .with_no_client_auth())
}

/// Takes any certificate, whose key the server has to have.
#[derive(Debug)]
struct Trusting {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_over_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:3678", "127.0.0.1:3678"),
            ("[::]:3678", "[::1]:3678"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            assert_eq!(
                reachable(listen.parse().unwrap()),
                asked.parse::<SocketAddr>().unwrap()
            );
        }
    }
}
