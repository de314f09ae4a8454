//! Where a log is that can be copied, or be a copy.

use crate::engine::Url;
use crate::replica::Connector;

/// Where a log is that can be copied, or be a copy.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a directory.
    Directory(Url),
    /// On a server.
    Server {
        /// Where.
        url: Url,
        /// How to get there.
        connector: Connector,
    },
}
