//! An authority of its own, which signs certificates for servers and clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority; what it signs are files in a directory.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
    name: String,
}

impl Authority {
    /// An authority whose certificate is the file `NAME.crt`.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let called = format!("the authority {name} of a test");
        params.distinguished_name.push(DnType::CommonName, called);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(directory.join(format!("{name}.crt")), certificate).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            directory: directory.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Signs a certificate for these names: the files `NAME.crt` and `NAME.key`.
    pub(crate) fn sign(&self, file: &str, names: &[&str]) {
        let mut params = CertificateParams::new([]).unwrap();
        let name = |name: &&str| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if name.contains("://") => SanType::URI((*name).try_into().unwrap()),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 3600));
        (params.not_before, params.not_after) = ((now - day).into(), (now + 90 * day).into());
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.serial_number = Some(names.len().to_le_bytes().to_vec().into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        std::fs::write(self.path(file, "crt"), certificate).unwrap();
        write_private(&self.path(file, "key"), &key.serialize_pem());
    }

    fn path(&self, file: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{file}.{kind}"))
    }

    /// A client that trusts this authority, with the certificate in these files.
    pub(crate) fn client(&self, certificate: Option<&str>) -> ClientConfig {
        self.client_of(certificate, rustls::ALL_VERSIONS)
    }

    pub(crate) fn client_of(
        &self,
        certificate: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path(&self.name, "crt")).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let Some(file) = certificate else {
            return builder.with_no_client_auth();
        };
        let chain = vec![CertificateDer::from_pem_file(self.path(file, "crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path(file, "key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    }
}

/// Writes a file that is its owner's alone.
pub(crate) fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).unwrap();
}

/// Connects to a server that is called `localhost`.
pub(crate) async fn encrypt(
    config: ClientConfig,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}
