//! HTTP to the collector: one connection, which is kept while it is good.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Uri;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// The most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

type Sender = SendRequest<Full<Bytes>>;

/// Sends to a collector.
pub(crate) struct Client {
    tls: TlsConnector,
    timeout: Duration,
    /// A connection that the last request has left.
    kept: Mutex<Option<Sender>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client that trusts the authorities of a file, or those of the system. Says why it cannot be.
    pub(crate) fn new(timeout: Duration, ca_file: Option<&Path>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = builder
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            timeout,
            kept: Mutex::default(),
        })
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let authority = uri.authority().ok_or("the endpoint has no host")?;
        // Credentials belong into headers.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        request
            .headers_mut()
            .insert(HOST, HeaderValue::try_from(host)?);
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        *request.uri_mut() = path.parse()?;
        let mut kept = self.kept.lock().await.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect(&uri).await?,
        };
        let response = sender.send_request(request.map(Full::new)).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        *self.kept.lock().await = Some(sender);
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    async fn connect(&self, uri: &Uri) -> Result<Sender, HttpError> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if is_tls {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            open(self.tls.connect(name, stream).await?).await
        } else {
            open(stream).await
        }
    }
}

async fn open<S>(stream: S) -> Result<Sender, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // What ends it is seen by the next request.
    tokio::spawn(connection);
    Ok(sender)
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match tokio::time::timeout(self.timeout, self.send(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("the collector did not answer within {:?}", self.timeout).into()),
        }
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        // A system without any can still send without TLS.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let shown = path.display();
    let certificates = CertificateDer::pem_file_iter(path);
    let certificates = certificates.map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    for certificate in certificates {
        let added = certificate.map_err(|error| error.to_string());
        let added = added.and_then(|it| roots.add(it).map_err(|error| error.to_string()));
        added.map_err(|error| format!("`{shown}` is not a file of certificates: {error}"))?;
    }
    Ok(roots)
}
