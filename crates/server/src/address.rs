//! Where a server listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a server listens by default; the port spells ENSU on a telephone.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3678);

/// An address and a port. A server refuses one that other machines reach, unless it has TLS and
/// authentication.
///
/// ```
/// use ensue_server::ListenAddress;
///
/// assert!("127.0.0.1:3678".parse::<ListenAddress>()?.is_loopback());
/// assert!("localhost:0".parse::<ListenAddress>()?.is_loopback());
/// assert!(!"0.0.0.0:3678".parse::<ListenAddress>()?.is_loopback());
/// # Ok::<(), ensue_server::InvalidAddress>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ListenAddress(SocketAddr);

/// A text that is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address and a port, such as `127.0.0.1:3678` or `[::1]:3678`")]
pub struct InvalidAddress(String);

impl ListenAddress {
    /// The address.
    pub fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine reaches it.
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self(DEFAULT_ADDRESS)
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let malformed = || InvalidAddress(text.chars().take(80).collect());
        let address = match text.strip_prefix("localhost:") {
            Some(port) => {
                let port = port.parse().map_err(|_| malformed())?;
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
            }
            None => text.parse().map_err(|_| malformed())?,
        };
        Ok(Self(address))
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_one_that_other_machines_reach() {
        for text in [
            "127.0.0.1:1",
            "127.8.0.1:0",
            "[::1]:80",
            "[::ffff:127.0.0.1]:1",
            "localhost:9",
        ] {
            assert!(
                text.parse::<ListenAddress>().unwrap().is_loopback(),
                "{text}"
            );
        }
        for text in [
            "0.0.0.0:1",
            "10.0.0.1:1",
            "[::]:1",
            "[::ffff:10.0.0.1]:1",
            "169.254.1.1:1",
        ] {
            assert!(
                !text.parse::<ListenAddress>().unwrap().is_loopback(),
                "{text}"
            );
        }
        for text in [
            "",
            "80",
            "127.0.0.1",
            "example.com:80",
            "localhost:",
            "localhost:65536",
            "::1:80",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
