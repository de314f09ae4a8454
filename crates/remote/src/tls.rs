//! Encryption: whom to trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_core::error::{EngineError, Error, OpenError, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Files in PEM form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Who signs the server's certificate; `None` is whom the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate and private key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// How to encrypt.
    ///
    /// # Errors
    /// [`EngineError::Io`] when a file cannot be read or holds something else, [`OpenError::Tls`].
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| OpenError::Tls {
            reason: error.to_string(),
        })?;
        let builder = versions.with_root_certificates(self.trusted()?);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let unreadable =
                    |error: &dyn std::fmt::Display| unreadable("private key", key, error);
                let private = PrivateKeyDer::from_pem_file(key).map_err(|it| unreadable(&it))?;
                let chain = certificates(certificate)?;
                let config = builder.with_client_auth_cert(chain, private);
                config.map_err(|it| unreadable(&it))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn trusted(&self) -> Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                for certificate in certificates(file)? {
                    let added = store.add(certificate);
                    added.map_err(|error| unreadable("certificates", file, &error))?;
                }
            }
            // Systems hold some that are broken or of kinds that are not used any more.
            None => {
                let found = rustls_native_certs::load_native_certs().certs;
                let _ = store.add_parsable_certificates(found);
            }
        }
        Ok(store)
    }
}

/// Whether what answers does not encrypt.
pub(crate) fn is_plain(error: &io::Error) -> bool {
    let inner: Option<&rustls::Error> = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

/// Why a connection could not be encrypted.
pub(crate) fn in_words(error: &io::Error) -> String {
    // The verifier has no name of its own for it.
    if error.to_string().contains("CaUsedAsEndEntity") {
        return "TLS: its certificate is an authority's; let the authority sign a server certificate, or make it \
                with basicConstraints=CA:FALSE"
            .to_owned();
    }
    format!("TLS: {error}")
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable("certificates", file, &error))?;
    if read.is_empty() {
        Err(unreadable("certificates", file, &"it holds none"))
    } else {
        Ok(read)
    }
}

fn unreadable(what: &str, file: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Engine(EngineError::Io {
        what: format!("could not read the {what} in {}", file.display()),
        reason: io::Error::new(io::ErrorKind::InvalidData, reason.to_string()),
    })
}
