//! Connections to servers whose client crates leave TCP and TLS to others.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{EngineError, Error, OpenError, Result};
use crate::shared_log::{Address, Server, Tls};

/// How long a server may take for one answer, connecting included.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// Opens something at the first address of `server` where that works, until `until`; the error is
/// the last address's. After a failover, another address may be the one that can be written to.
pub(crate) async fn first_fit<'a, T, F>(
    server: &'a Server,
    until: Instant,
    open: impl Fn(&'a Address) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut refusal = server.unavailable("it has no address");
    let mut left = server.addresses.len();
    for address in &server.addresses {
        // A silent one must leave some time to the others.
        let share = until.saturating_duration_since(Instant::now()) / left.max(1) as u32;
        left = left.saturating_sub(1);
        match tokio::time::timeout(share, open(address)).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) => refusal = error,
            // A server without TLS may wait for more of what it takes for a command.
            Err(_) if server.tls.is_some() => {
                let reason = format!("{address} does not answer: does it speak TLS at this port?");
                refusal = server.unavailable(reason);
            }
            Err(_) => refusal = server.unavailable(format!("{address} does not answer")),
        }
    }
    Err(refusal)
}

/// When an answer is due that is asked for now.
pub(crate) fn soon() -> Instant {
    Instant::now() + ANSWER
}

/// Connects. Nothing is encrypted yet.
///
/// # Errors
/// [`EngineError::Unavailable`]; it takes as long as the system tries, so limit it.
pub(crate) async fn open(server: &Server, address: &Address) -> Result<TcpStream> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    stream.map_err(|error| server.unavailable(format!("{address}: {error}")))
}

/// How to encrypt, and which authorities to trust.
///
/// # Errors
/// [`EngineError::Io`] when a file cannot be read or holds something else.
pub(crate) fn encryption(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| OpenError::Tls {
        reason: error.to_string(),
    })?;
    let builder = builder.with_root_certificates(trusted(tls)?);
    let Some((certificate, key)) = &tls.client else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unreadable("private key", key, &error.to_string()))?;
    let config = builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| unreadable("private key", key, &error.to_string()))?;
    Ok(Arc::new(config))
}

/// Encrypts a connection.
///
/// # Errors
/// The system's and TLS's; [`refusal`] says which ones are for good.
pub(crate) async fn encrypt(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config.clone())
        .connect(name, stream)
        .await
}

/// The error of a connection that could not be encrypted.
pub(crate) fn refusal(server: &Server, error: &io::Error) -> Error {
    let cause = error.get_ref();
    match cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => server.unfit(
            error,
            "name the file with the certificates that sign the server's with `ca=`, and the host \
             as the certificate names it",
        ),
        Some(rustls::Error::AlertReceived(_)) => server.unfit(
            error,
            "name a client certificate that the server accepts with `cert=` and `key=`",
        ),
        Some(rustls::Error::InvalidMessage(_)) => server.unfit(
            error,
            "the server speaks no TLS at this port: try `tls=false`",
        ),
        _ => server.unavailable(error),
    }
}

fn trusted(tls: &Tls) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match &tls.ca {
        Some(file) => {
            for certificate in certificates(file)? {
                store
                    .add(certificate)
                    .map_err(|error| unreadable("certificates", file, &error.to_string()))?;
            }
        }
        // Systems hold some that are broken or of kinds that are not used any more.
        None => {
            let _ = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable("certificates", file, &error.to_string()))?;
    if read.is_empty() {
        Err(unreadable("certificates", file, "it holds none"))
    } else {
        Ok(read)
    }
}

fn unreadable(what: &str, file: &Path, reason: &str) -> Error {
    Error::Engine(EngineError::Io {
        what: format!("could not read the {what} in {}", file.display()),
        reason: io::Error::new(io::ErrorKind::InvalidData, reason.to_owned()),
    })
}
