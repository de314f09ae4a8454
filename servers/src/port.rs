//! Free ports.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};

/// Below the ports that Linux gives to outgoing connections. In that range, any
/// connection could take the port of a server that was killed before it is started again.
const FIRST: u16 = 15_000;
const LAST: u16 = 29_999;

/// Ports on which nothing listens on loopback and that are not taken in another way. The search
/// begins at random, so that those who search at the same time do not find the same ones.
pub(crate) fn free(count: usize, is_taken: impl Fn(u16) -> bool) -> Result<Vec<u16>, String> {
    let random = RandomState::new().build_hasher().finish();
    let span = u64::from(LAST - FIRST) + 1;
    // A remainder of `span` fits into a port.
    let offset = u16::try_from(random % span).unwrap_or_default();
    let from = (FIRST..=LAST).skip(usize::from(offset));
    let around = from.chain(FIRST..FIRST + offset);
    let is_free =
        |port: &u16| !is_taken(*port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<_> = around.filter(is_free).take(count).collect();
    if ports.len() == count {
        Ok(ports)
    } else {
        Err(format!("no port is free between {FIRST} and {LAST}"))
    }
}

/// The port of a server that has only one.
pub(crate) fn first(ports: &[u16]) -> Result<u16, String> {
    ports.first().copied().ok_or_else(|| "no port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_taken_is_not_free() {
        // Another process may take a port between the search and the use of it.
        let listen = |_| {
            let port = free(1, |_| false).unwrap()[0];
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
        };
        let used = (0..100).find_map(listen).unwrap();
        let used_port = used.local_addr().unwrap().port();
        assert!(free(1, |port| port != used_port).is_err());
        // Only every 1,000th port is not taken.
        let ports = free(3, |port| port % 1_000 != 7).unwrap();
        assert!(ports.len() == 3 && ports.iter().all(|port| port % 1_000 == 7));
    }

    #[test]
    fn outgoing_connections_get_no_port_of_ours() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let first = range
            .ok()
            .and_then(|it| it.split_whitespace().next()?.parse().ok());
        // Elsewhere than on Linux, nothing is known about it.
        assert!(first.is_none_or(|first: u16| LAST < first));
    }
}
