//! Connections to other servers. The address is checked that is connected to, not the name: a name that
//! resolves to something else the second time (DNS rebinding) is resolved once.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Uri;
use futures_util::future::{BoxFuture, FutureExt as _};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::network::{Network, Reach, reach};

/// How many of a name's addresses are tried, and for how long each.
const ADDRESSES_MAX: usize = 4;
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// How many names are resolved at a time: each takes a thread that the engine's reads need, too.
const RESOLVING_MAX: usize = 16;

/// Opens connections. Cloning shares everything.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Settings>);

/// Which addresses are connected to.
pub(crate) enum Reachable {
    /// Those of the public internet with TLS, and these networks: for URLs that lead anywhere.
    Public(Vec<Network>),
    /// Every address with TLS, and those of this machine without: for what the configuration trusts.
    Configured,
}

struct Settings {
    reachable: Reachable,
    resolve: Box<Resolve>,
    tls: Arc<ClientConfig>,
}

/// Finds the addresses of a name.
type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name `{host}` cannot be resolved: {reason}")]
    Resolve { host: String, reason: io::Error },
    #[error(
        "`{host}` is at {address}, which is not on the public internet; allow its network in the \
         configuration (`[webhooks] allow`) if it is meant"
    )]
    Inside { host: String, address: IpAddr },
    #[error("`{host}` is at {address}, which is only called with `https`")]
    Plain { host: String, address: IpAddr },
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        address: SocketAddr,
        reason: io::Error,
    },
    #[error("no TLS with `{host}`: {reason}")]
    Tls { host: String, reason: io::Error },
}

impl Connector {
    /// A connector that trusts the authorities of `ca_file`, or those of the system. Says why it cannot.
    pub(crate) fn new(reachable: Reachable, ca_file: Option<&Path>) -> Result<Self, String> {
        let turns = Arc::new(Semaphore::new(RESOLVING_MAX));
        let by_system = move |host: String, port| {
            let turns = turns.clone();
            let found = async move {
                let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
                let resolving = tokio::task::spawn_blocking(move || {
                    // Kept to the end, also when the delivery has been given up.
                    let _turn = turn;
                    Ok((host, port).to_socket_addrs()?.collect())
                });
                resolving.await.map_err(io::Error::other)?
            };
            found.boxed()
        };
        Self::with(reachable, ca_file, Box::new(by_system))
    }

    fn with(
        reachable: Reachable,
        ca_file: Option<&Path>,
        resolve: Box<Resolve>,
    ) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let tls = builder
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        Ok(Self(Arc::new(Settings {
            reachable,
            resolve,
            tls: Arc::new(tls),
        })))
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Box<dyn Io>>, ConnectError> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let resolved = (self.0.resolve)(host.to_owned(), port).await;
        let addresses = resolved.map_err(|reason| ConnectError::Resolve {
            host: host.to_owned(),
            reason,
        })?;
        let mut failed = None;
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match self.open(host, address, is_tls).await {
                Ok(stream) => return Ok(TokioIo::new(stream)),
                // An address inside is no reason not to try those outside; it is the one to tell.
                Err(error) => failed = Some(failed.filter(is_refusal).unwrap_or(error)),
            }
        }
        Err(failed.unwrap_or_else(|| ConnectError::Resolve {
            host: host.to_owned(),
            reason: io::ErrorKind::NotFound.into(),
        }))
    }

    async fn open(
        &self,
        host: &str,
        address: SocketAddr,
        is_tls: bool,
    ) -> Result<Box<dyn Io>, ConnectError> {
        self.check(host, address.ip(), is_tls)?;
        let failed = |reason| ConnectError::Connect { address, reason };
        let connecting = tokio::time::timeout(ADDRESS_TIMEOUT, TcpStream::connect(address));
        let connected = connecting
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(failed)?;
        // Where it really is.
        let peer = stream.peer_addr().map_err(failed)?;
        self.check(host, peer.ip(), is_tls)?;
        // Deliveries are small, and waited for.
        stream.set_nodelay(true).map_err(failed)?;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let failed = |reason| ConnectError::Tls {
            host: host.to_owned(),
            reason,
        };
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| failed(io::Error::other(error)))?;
        let tls = TlsConnector::from(self.0.tls.clone());
        Ok(Box::new(tls.connect(name, stream).await.map_err(failed)?))
    }

    fn check(&self, host: &str, address: IpAddr, is_tls: bool) -> Result<(), ConnectError> {
        let host = host.to_owned();
        let allowed = match &self.0.reachable {
            Reachable::Public(allowed) => allowed,
            Reachable::Configured if is_tls || address.to_canonical().is_loopback() => {
                return Ok(());
            }
            Reachable::Configured => return Err(ConnectError::Plain { host, address }),
        };
        match reach(allowed, address) {
            Reach::Refused => Err(ConnectError::Inside { host, address }),
            Reach::Public if !is_tls => Err(ConnectError::Plain { host, address }),
            Reach::Public | Reach::Allowed => Ok(()),
        }
    }
}

fn is_refusal(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Inside { .. } | ConnectError::Plain { .. }
    )
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(path) = ca_file else {
        // Systems hold some that are broken or of kinds that are not used any more.
        let _ = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            tracing::warn!(
                "the system trusts no authority: nothing with `https` can be called; install \
                 certificates, or name a file with `ca_file`"
            );
        }
        return Ok(store);
    };
    let unreadable = |error: &dyn std::fmt::Display| {
        format!(
            "`ca_file`: cannot read certificates from `{}`: {error}",
            path.display()
        )
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        store.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if store.is_empty() {
        return Err(unreadable(&"it has none"));
    }
    Ok(store)
}

/// What bytes go over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.clone().connect(uri).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    async fn connect(allowed: &[&str], url: &str) -> Result<(), String> {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let connector = Connector::new(Reachable::Public(allowed), None).unwrap();
        let connected = connector.connect(url.parse().unwrap()).await;
        connected.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_address_inside_is_refused_however_it_is_named_and_reached_when_it_is_allowed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
        ] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}:{port}/");
                let error = connect(&[], &url).await.unwrap_err();
                // Systems differ in what they take for an address.
                let is_refused = error.contains("not on the public internet");
                assert!(
                    is_refused || error.contains("cannot be resolved"),
                    "{url}: {error}"
                );
            }
        }
        // A connection that was made would be there by now: loopback queues it before it is accepted.
        assert!(
            listener.accept().now_or_never().is_none(),
            "something was connected to"
        );
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(connect(&["127.0.0.1"], &url).await, Ok(()));
        assert!(connect(&["10.0.0.0/8"], &url).await.is_err());
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_and_only_what_was_checked_is_connected_to() {
        let allowed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = allowed.local_addr().unwrap().port();
        let inside = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        // The first time with an address that may be called, then with one that may not.
        let rebinding = move |_: String, port| {
            let last = match counted.fetch_add(1, Ordering::Relaxed) {
                0 => 1,
                _ => 2,
            };
            let address = SocketAddr::from(([127, 0, 0, last], port));
            async move { Ok(vec![address]) }.boxed()
        };
        let network = "127.0.0.1".parse().unwrap();
        let connector =
            Connector::with(Reachable::Public(vec![network]), None, Box::new(rebinding));
        let connector = connector.unwrap();
        let uri: Uri = format!("http://rebinding.example:{port}/").parse().unwrap();
        assert!(connector.clone().connect(uri.clone()).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        allowed.accept().await.unwrap();
        let error = connector.connect(uri).await.err().unwrap();
        assert!(matches!(error, ConnectError::Inside { .. }), "{error}");
        assert!(inside.accept().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_public_address_is_not_called_without_tls() {
        let error = connect(&[], "http://8.8.8.8/").await.unwrap_err();
        assert!(error.contains("only called with `https`"), "{error}");
    }

    #[tokio::test]
    async fn what_is_configured_is_reached_inside_with_tls_and_on_this_machine_without() {
        let connector = Connector::new(Reachable::Configured, None).unwrap();
        let check = |address: &str, is_tls| {
            let checked = connector.check("id.example", address.parse().unwrap(), is_tls);
            checked.is_ok()
        };
        for address in ["10.0.0.1", "8.8.8.8", "169.254.169.254", "fd00::1"] {
            assert!(check(address, true) && !check(address, false), "{address}");
        }
        for address in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(check(address, true) && check(address, false), "{address}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let error = Connector::new(Reachable::Configured, Some(&path));
        let error = error.err().unwrap();
        assert!(
            error.contains("ca.pem") && error.contains("it has none"),
            "{error}"
        );
    }
}
