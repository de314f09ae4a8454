//! The door: TLS, and connections that cost no more than they may.

mod certificate;
mod connections;

pub use self::certificate::{Certificate, CertificateError};
pub use self::connections::{CONNECTIONS_MAX, serve};
