//! What stops a run.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::https::CertificateError;
use crate::operations::OperationError;
use crate::replay::ReplayError;
use crate::secrets::{HashingError, KeysError};
use crate::view::ViewError;

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine or a service.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
    /// The directory of the service.
    #[error("the directory {}: {source}; --home says another", path.display())]
    Home {
        /// Which one.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The service's key.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The service's certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The view of profiles.
    #[error(transparent)]
    View(Box<ViewError>),
    /// Passwords cannot be hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The mails cannot be written.
    #[error("the mails {}: {source}", path.display())]
    Post {
        /// Where they are.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The address is not free.
    #[error("cannot listen on {address}: {source}; is another service running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The first administrator cannot be appointed.
    #[error("cannot appoint {user}: {source}")]
    Appoint {
        /// Who.
        user: String,
        /// Why not.
        source: Box<OperationError>,
    },
    /// It is no user's name.
    #[error("`{0}` is no user's name: that is `u-` and a UUID")]
    NoUser(String),
    /// A made-up user did not come to the end.
    #[error("a made-up user got stuck: {0}")]
    Stuck(String),
}

impl From<ViewError> for Error {
    fn from(error: ViewError) -> Self {
        Self::View(Box::new(error))
    }
}
