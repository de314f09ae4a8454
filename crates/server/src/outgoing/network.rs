//! Which addresses may be called: those of the public internet, and the networks inside that the
//! configuration allows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of addresses, such as `10.1.0.0/16`; an address alone is a range of one.
///
/// An IPv4 address that is written inside an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is not a network.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{text}` is not a network: {reason}; expected an address or a range such as 10.1.0.0/16")]
pub struct InvalidNetwork {
    text: String,
    reason: &'static str,
}

impl Network {
    /// Whether `address` is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                masked(own.to_bits().into(), 32, self.prefix)
                    == masked(other.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                masked(own.to_bits(), 128, self.prefix) == masked(other.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

/// The first `prefix` of `width` bits.
fn masked(bits: u128, width: u8, prefix: u8) -> u128 {
    let rest = width.saturating_sub(prefix);
    bits.checked_shr(rest.into()).unwrap_or(0)
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = |reason| InvalidNetwork {
            text: text.chars().take(80).collect(),
            reason,
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| invalid("it is not an IP address"))?;
        if address != address.to_canonical() {
            return Err(invalid(
                "it is an IPv4 address inside an IPv6 one, write the former",
            ));
        }
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(prefix) => match prefix.parse::<u8>() {
                Ok(prefix) if prefix <= width => prefix,
                _ => return Err(invalid("the length after `/` is out of range")),
            },
        };
        Ok(Self { address, prefix })
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether an address may be called, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// On the public internet: with TLS only.
    Public,
    /// In a network that the configuration allows.
    Allowed,
    /// Inside, and not allowed.
    Refused,
}

/// How far `address` is from here.
pub(crate) fn reach(allowed: &[Network], address: IpAddr) -> Reach {
    if allowed.iter().any(|network| network.contains(address)) {
        Reach::Allowed
    } else if is_public(address) {
        Reach::Public
    } else {
        Reach::Refused
    }
}

/// Whether an address belongs to the public internet, by IANA's registries of special addresses.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private networks, loopback.
        [0 | 10 | 127, ..] => true,
        // Shared by the customers of a carrier; some clouds have their metadata there.
        [100, second, ..] => (64..128).contains(&second),
        // Link-local: the metadata of most clouds is at 169.254.169.254.
        [169, 254, ..] => true,
        [172, second, ..] => (16..32).contains(&second),
        // Protocol assignments, documentation, relays from IPv6.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        [192, 168, ..] => true,
        // Benchmarks, documentation.
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // An IPv4 address behind a translator (NAT64): that is what is reached.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Protocol assignments (Teredo, ORCHID, …), documentation, 6to4, which hides an IPv4 address.
        [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] => false,
        [0x3fff, 0..0x1000, ..] => false,
        // Only this is given to the public: not loopback, unique local, link-local, multicast, …
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_refused_whatever_they_are_written_as() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address = inside.parse().unwrap();
            assert_eq!(reach(&[], address), Reach::Refused, "{inside}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            let address = public.parse().unwrap();
            assert_eq!(reach(&[], address), Reach::Public, "{public}");
        }
    }

    #[test]
    fn an_allowed_network_lets_in_its_own_addresses_and_no_others() {
        let allowed: Vec<Network> = ["10.1.0.0/16", "127.0.0.1", "fd00::/8"]
            .map(|text| text.parse().unwrap())
            .into();
        for (address, expected) in [
            ("10.1.0.0", Reach::Allowed),
            ("10.1.255.255", Reach::Allowed),
            ("::ffff:10.1.2.3", Reach::Allowed),
            ("10.2.0.0", Reach::Refused),
            ("127.0.0.1", Reach::Allowed),
            ("127.0.0.2", Reach::Refused),
            ("fd12::1", Reach::Allowed),
            ("fc12::1", Reach::Refused),
            ("8.8.8.8", Reach::Public),
        ] {
            assert_eq!(
                reach(&allowed, address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "1.1.1.1/",
            "::ffff:10.0.0.1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let network: Network = "10.1.2.3/8".parse().unwrap();
        assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
    }
}
