//! Encrypted connections: a server's TLS is taken off in front of it.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::error::OpenError;

/// Who signs certificates; keys and certificates are files in a directory.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "a test's authority");
        let key = KeyPair::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(directory.path().join("ca.pem"), certificate).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, directory }
    }

    /// Signs a certificate for a host, or for a user.
    fn sign(&self, name: &str) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        std::fs::write(self.file(&format!("{name}.pem")), certificate).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.file(&format!("{name}.pem"))).unwrap()
    }

    /// How the host presents itself, and whether it asks for certificates.
    fn server(&self, host: &str, asks: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate("ca")).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.file(&format!("{host}.key"))).unwrap();
        let config = builder.with_single_cert(vec![self.certificate(host)], key);
        Arc::new(config.unwrap())
    }
}

/// What happens on a connection before it is encrypted, and after.
#[derive(Clone, Copy, Debug)]
enum Custom {
    Nothing,
    /// The client asks whether it may encrypt.
    Postgres,
    /// The server introduces itself first.
    Nats,
    /// The server tells its address, to which clients connect then.
    Kafka,
}

/// Takes TLS off in front of a server; ends when it is dropped.
struct Gate {
    port: u16,
    listener: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Gate {
    async fn open(bed: &Bed, config: Arc<ServerConfig>) -> Self {
        let server = bed.service.address();
        let custom = match bed.server().split("://").next() {
            Some("postgres") => Custom::Postgres,
            Some("nats") => Custom::Nats,
            Some("kafka") => Custom::Kafka,
            _ => Custom::Nothing,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let acceptor = TlsAcceptor::from(config.clone());
                let server = server.clone();
                // Clients that are refused break off.
                connections.spawn(async move {
                    let _ = pass(client, acceptor, &server, custom, port).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, listener }
    }

    /// The log behind the gate, with more options.
    fn url(&self, bed: &Bed, options: &str) -> Url {
        let address = format!("127.0.0.1:{}", self.port);
        let url = bed.url().replace(&bed.service.address(), &address);
        Url::parse(&format!("{url}&tls=true{options}")).unwrap()
    }
}

async fn pass(
    mut client: TcpStream,
    acceptor: TlsAcceptor,
    address: &str,
    custom: Custom,
    port: u16,
) -> std::io::Result<()> {
    let mut server = BufReader::new(TcpStream::connect(address).await?);
    match custom {
        Custom::Nothing | Custom::Kafka => {}
        Custom::Postgres => {
            // SSLRequest: its length and a number.
            let mut request = [0; 8];
            client.read_exact(&mut request).await?;
            assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
            client.write_all(b"S").await?;
        }
        Custom::Nats => {
            let mut introduction = Vec::new();
            server.read_until(b'\n', &mut introduction).await?;
            client.write_all(&introduction).await?;
        }
    }
    let mut client = acceptor.accept(client).await?;
    match custom {
        Custom::Kafka => carry_renamed(client, server.into_inner(), address, port).await,
        _ => copy_bidirectional(&mut client, &mut server).await.map(drop),
    }
}

/// Carries bytes, and puts the gate's port for the server's wherever it tells its address: a host
/// followed by four bytes.
async fn carry_renamed(
    client: tokio_rustls::server::TlsStream<TcpStream>,
    server: TcpStream,
    address: &str,
    port: u16,
) -> std::io::Result<()> {
    let (host, told) = address.rsplit_once(':').unwrap();
    let place = |port: u32| [host.as_bytes(), &port.to_be_bytes()].concat();
    let (told, renamed) = (place(told.parse().unwrap()), place(port.into()));
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let back = async {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            for at in 0..length.saturating_sub(told.len() - 1) {
                if buffer[at..].starts_with(&told) {
                    buffer[at..at + renamed.len()].copy_from_slice(&renamed);
                }
            }
            to_client.write_all(&buffer[..length]).await?;
            to_client.flush().await?;
        }
    };
    tokio::select! {
        done = back => done,
        done = tokio::io::copy(&mut from_client, &mut to_server) => done.map(drop),
    }
}

/// What connecting is refused with.
async fn refusal(bed: &Bed, url: Url) -> Error {
    match timely(Duration::ZERO, (bed.connect)(url.clone())).await {
        Err(error) => error,
        Ok(_) => panic!("{url} was connected to"),
    }
}

pub(crate) async fn encrypted_connections_are_checked(bed: &Bed) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for name in ["127.0.0.1", "elsewhere.test", "ensue"] {
        authority.sign(name);
    }
    stranger.sign("ensue");
    let ca = format!("&ca={}", authority.file("ca.pem").display());
    let certificate = |authority: &Authority| {
        let file = |name| authority.file(name).display().to_string();
        format!("&cert={}&key={}", file("ensue.pem"), file("ensue.key"))
    };

    let gate = Gate::open(bed, authority.server("127.0.0.1", false)).await;
    let log = answered(|| (bed.connect)(gate.url(bed, &ca))).await;
    let mut appender = Appender::new("encrypted");
    appender.append(&*log, 20, 3_000).await;
    appender.check_exactly(&all_from(&*log, 0).await);

    // The authority is unknown; it is another one; the certificate is another host's.
    let other = format!("&ca={}", stranger.file("ca.pem").display());
    let elsewhere = Gate::open(bed, authority.server("elsewhere.test", false)).await;
    for url in [
        gate.url(bed, ""),
        gate.url(bed, &other),
        elsewhere.url(bed, &ca),
    ] {
        let error = loop {
            match refusal(bed, url.clone()).await {
                // A busy machine may need longer than a connection waits for an answer.
                Error::Engine(EngineError::Unavailable { .. }) => {}
                error => break error,
            }
        };
        assert!(
            matches!(error, Error::Open(OpenError::Unfit { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("`ca=`"), "{error}");
    }

    // The server asks for a certificate, and takes only its own authority's.
    let asking = Gate::open(bed, authority.server("127.0.0.1", true)).await;
    let known = format!("{ca}{}", certificate(&authority));
    let log = answered(|| (bed.connect)(asking.url(bed, &known))).await;
    appender.append(&*log, 5, 100).await;
    appender.check_exactly(&all_from(&*log, 0).await);
    let unknown = format!("{ca}{}", certificate(&stranger));
    for options in [&ca, &unknown] {
        refusal(bed, asking.url(bed, options)).await;
    }
}

pub(crate) async fn a_server_without_encryption_is_refused(bed: &Bed) {
    let url = format!("{}&tls=true", bed.url());
    let error = refusal(bed, Url::parse(&url).unwrap()).await;
    let said = error.to_string().to_lowercase();
    assert!(said.contains("tls"), "{error}");
}
