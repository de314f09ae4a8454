//! TLS from files: what the server shows its clients, and whose certificates it takes for names.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::files::Files;
use super::secrets::sha256;
use crate::config::{ClientCertificates, ConfigError, Tls};

/// The protocols that the server speaks, for clients that ask; the first one that a client knows is
/// taken.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a connection is encrypted with.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    config: Arc<ServerConfig>,
    authorities: Option<Authorities>,
}

/// Which authorities of clients there are: a certificate that was checked against others proves
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authorities([u8; 32]);

/// The client of a connection, as its certificate calls it.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    pub(super) names: Vec<String>,
    pub(super) by: Authorities,
}

impl Encryption {
    /// What the files say.
    pub(super) fn read(tls: &Tls, files: &mut Files) -> Result<Self, ConfigError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("tls", &error))?;
        let verifier = match &tls.client_ca {
            None => None,
            Some(authorities) => {
                let pem = files.read("tls.client_ca", authorities)?;
                let mut roots = RootCertStore::empty();
                for certificate in certificates("tls.client_ca", &pem)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| invalid("tls.client_ca", &error))?;
                }
                let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let (builder, revoked) = match &tls.client_crl {
                    None => (builder, Vec::new()),
                    Some(revoked) => {
                        let pem = files.read("tls.client_crl", revoked)?;
                        let builder = builder.with_crls(revocations(&pem)?);
                        (builder.only_check_end_entity_revocation(), pem)
                    }
                };
                let builder = match tls.client_certificates {
                    ClientCertificates::Required => builder,
                    ClientCertificates::Optional => builder.allow_unauthenticated(),
                };
                let verifier = builder.build();
                let verifier = verifier.map_err(|error| invalid("tls.client_ca", &error))?;
                Some((verifier, authorities_of(&[pem, revoked].concat())))
            }
        };
        let chain = certificates(
            "tls.certificate",
            &files.read("tls.certificate", &tls.certificate)?,
        )?;
        let key = files.read_private("tls.key", &tls.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| invalid("tls.key", &"it has no private key in the form PEM"))?;
        let authorities = verifier.as_ref().map(|(_, authorities)| *authorities);
        let builder = match verifier {
            Some((verifier, _)) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        // It checks that the key is the certificate's.
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| invalid("tls.certificate", &error))?;
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            authorities,
        })
    }

    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    pub(super) fn authorities(&self) -> Option<Authorities> {
        self.authorities
    }

    /// The names of the client whose certificates these are; the first one is its own. TLS has checked
    /// them.
    pub(crate) fn certified(
        &self,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Option<Certified> {
        let certificate = certificates?.first()?;
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let names = certificate.valid_dns_names();
        let names = names.chain(certificate.valid_uri_names());
        Some(Certified {
            names: names.map(str::to_owned).collect(),
            by: self.authorities?,
        })
    }
}

fn authorities_of(pem: &[u8]) -> Authorities {
    Authorities(sha256(pem))
}

fn certificates(
    setting: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(invalid(setting, &"it has no certificate in the form PEM")),
        Err(error) => Err(invalid(setting, &error)),
    }
}

fn revocations(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    let found = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    found.map_err(|error| invalid("tls.client_crl", &error))
}

fn invalid(setting: &'static str, problem: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::Invalid {
        name: setting.to_owned(),
        problem: format!("names a file that cannot be used: {problem}"),
    }
}
