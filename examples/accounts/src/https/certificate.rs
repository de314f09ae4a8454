//! What the service shows its clients.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Where a certificate and its private key are, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate {}: {reason}", path.display())]
pub struct CertificateError {
    path: PathBuf,
    reason: String,
}

impl Certificate {
    /// One that this service has made for itself, in this directory: for loopback addresses, and for
    /// trying it out.
    ///
    /// # Errors
    /// When it is not there and cannot be made.
    pub fn self_made(directory: &Path) -> Result<Self, CertificateError> {
        let made = Self {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        if !made.certificate.exists() {
            make(directory, &made).map_err(|reason| made.error(reason))?;
        }
        Ok(made)
    }

    /// What a server needs.
    ///
    /// # Errors
    /// When a file cannot be read, or the key is not the certificate's.
    pub fn server(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|reason| self.error(format!("its key: {reason}")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = self.chain().map_err(|reason| self.error(reason))?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|reason| self.error(reason))?;
        let config = builder.with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.map_err(|reason| self.error(reason))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// What a client needs that trusts this certificate alone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn client(&self) -> Result<Arc<ClientConfig>, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = self.chain().and_then(|chain| {
            let mut roots = RootCertStore::empty();
            chain
                .into_iter()
                .try_for_each(|certificate| roots.add(certificate))?;
            Ok(roots)
        });
        let roots = roots.map_err(|reason| self.error(reason))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|reason| self.error(reason))?;
        Ok(Arc::new(
            builder.with_root_certificates(roots).with_no_client_auth(),
        ))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, rustls::Error> {
        let read = |error| rustls::Error::General(format!("{error}"));
        let chain = CertificateDer::pem_file_iter(&self.certificate).map_err(read)?;
        chain.collect::<Result<_, _>>().map_err(read)
    }

    fn error(&self, reason: impl ToString) -> CertificateError {
        CertificateError {
            path: self.certificate.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The key first: where the certificate is, both are.
fn make(directory: &Path, made: &Certificate) -> Result<(), String> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let certified = rcgen::generate_simple_self_signed(names).map_err(|it| it.to_string())?;
    let key = certified.signing_key.serialize_pem();
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&made.key)?.write_all(key.as_bytes())?;
        let draft = made.certificate.with_extension("draft");
        std::fs::write(&draft, certified.cert.pem())?;
        std::fs::rename(draft, &made.certificate)
    };
    write().map_err(|it| it.to_string())
}
