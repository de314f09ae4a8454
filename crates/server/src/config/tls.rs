//! The settings of TLS: the server's certificate, and those of its clients.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The server's certificate, and whose certificates of clients it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file with the server's certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key; other users may not read it.
    pub key: PathBuf,
    /// A PEM file with the authorities whose certificates say who a client is.
    pub client_ca: Option<PathBuf>,
    /// A PEM file with the lists of certificates that these authorities have revoked.
    pub client_crl: Option<PathBuf>,
    /// Whether a client needs a certificate to connect at all.
    pub client_certificates: ClientCertificates,
}

/// Whether a client needs a certificate to connect at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ClientCertificates {
    /// It may have one, or a token.
    #[default]
    Optional,
    /// It needs one, probes included.
    Required,
}
