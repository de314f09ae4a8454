//! Where a server may listen: on loopback addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a server listens by default; the port spells ENSU on a telephone.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3678);

/// An address that only this machine reaches.
///
/// ```
/// use ensue_server::ListenAddress;
///
/// assert!("127.0.0.1:3678".parse::<ListenAddress>().is_ok());
/// assert!("localhost:0".parse::<ListenAddress>().is_ok());
/// assert!("0.0.0.0:3678".parse::<ListenAddress>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ListenAddress(SocketAddr);

/// An address that a server may not listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// It is not an address.
    #[error("`{0}` is not an address and a port, such as `127.0.0.1:3678` or `[::1]:3678`")]
    Malformed(String),
    /// Other machines could reach it.
    #[error(
        "`{0}` is not a loopback address: the server has no TLS and no authentication yet, so every \
         machine that reaches it could read and write everything; listen on 127.0.0.1 or [::1], and \
         let other machines in through a proxy that authenticates them"
    )]
    NotLoopback(SocketAddr),
}

impl ListenAddress {
    /// The address.
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self(DEFAULT_ADDRESS)
    }
}

impl TryFrom<SocketAddr> for ListenAddress {
    type Error = InvalidAddress;

    fn try_from(address: SocketAddr) -> Result<Self, InvalidAddress> {
        if address.ip().to_canonical().is_loopback() {
            Ok(Self(address))
        } else {
            Err(InvalidAddress::NotLoopback(address))
        }
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let malformed = || InvalidAddress::Malformed(text.chars().take(80).collect());
        let address = match text.strip_prefix("localhost:") {
            Some(port) => {
                let port = port.parse().map_err(|_| malformed())?;
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
            }
            None => text.parse().map_err(|_| malformed())?,
        };
        address.try_into()
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
    fn an_address_that_other_machines_reach_is_refused_with_what_to_do() {
        for text in [
            "127.0.0.1:1",
            "127.8.0.1:0",
            "[::1]:80",
            "[::ffff:127.0.0.1]:1",
            "localhost:9",
        ] {
            assert!(text.parse::<ListenAddress>().is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0:1",
            "10.0.0.1:1",
            "[::]:1",
            "[::ffff:10.0.0.1]:1",
            "169.254.1.1:1",
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(matches!(error, InvalidAddress::NotLoopback(_)), "{text}");
            let error = error.to_string();
            assert!(
                error.contains("no authentication") && error.contains("127.0.0.1"),
                "{error}"
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
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(
                matches!(error, InvalidAddress::Malformed(_)),
                "{text}: {error}"
            );
        }
    }
}
