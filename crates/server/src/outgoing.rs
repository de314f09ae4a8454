//! Requests that the server sends itself: where they may go, and how they get there.

mod connector;
mod documents;
mod network;
mod trusted;

pub(crate) use self::connector::{Connector, Reachable};
pub(crate) use self::documents::{Document, Documents};
pub use self::network::{InvalidNetwork, Network};
pub(crate) use self::network::{Reach, reach};
pub(crate) use self::trusted::trusted_url;
