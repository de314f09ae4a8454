//! What one address of the network may cost before its owner is known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::rate::Rate;
use crate::config::Limits;

/// How many addresses are told apart at a time; all beyond share what one may.
const ADDRESSES_MAX: usize = 4096;

/// Connections by address. Those of this machine are not limited: a proxy brings everyone's.
#[derive(Debug)]
pub(crate) struct Addresses {
    connections_max: usize,
    per_second: u32,
    by_address: Mutex<HashMap<Source, Costs>>,
}

/// Where connections come from, as far as it costs something to have another: an IPv4 address, or the
/// network of an IPv6 one. `None` is all those beyond what is told apart.
type Source = Option<IpAddr>;

#[derive(Debug)]
struct Costs {
    connections: usize,
    rate: Rate,
}

/// A connection, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    source: Source,
}

impl Addresses {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.address_connections_max,
            per_second: limits.address_connections_per_second,
            by_address: Mutex::default(),
        })
    }

    /// Counts a connection, unless its address has too many, or opens them too fast.
    pub(crate) fn connect(self: &Arc<Self>, address: IpAddr) -> Option<Option<Counted>> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Some(None);
        }
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut source = Some(network(address));
        if !by_address.contains_key(&source) && by_address.len() >= ADDRESSES_MAX {
            by_address.retain(|_, costs| costs.connections > 0 || !costs.rate.is_rested());
            if by_address.len() >= ADDRESSES_MAX {
                source = None;
            }
        }
        let costs = by_address.entry(source).or_insert_with(|| Costs {
            connections: 0,
            rate: Rate::per_second(self.per_second),
        });
        if costs.connections >= self.connections_max || !costs.rate.admits() {
            return None;
        }
        costs.connections += 1;
        Some(Some(Counted {
            addresses: self.clone(),
            source,
        }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let by_address = &self.addresses.by_address;
        let mut by_address = by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(costs) = by_address.get_mut(&self.source) {
            costs.connections = costs.connections.saturating_sub(1);
        }
    }
}

/// Whoever has one IPv6 address has its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(connections_max: usize, per_second: u32) -> Arc<Addresses> {
        Addresses::new(&Limits {
            address_connections_max: connections_max,
            address_connections_per_second: per_second,
            ..Limits::default()
        })
    }

    #[test]
    fn an_address_has_so_many_connections_and_another_has_its_own() {
        let addresses = addresses(2, 1000);
        let connect = |text: &str| addresses.connect(text.parse().unwrap());
        let first = connect("192.0.2.1").unwrap();
        let _second = connect("::ffff:192.0.2.1").unwrap();
        assert!(connect("192.0.2.1").is_none());
        assert!(connect("192.0.2.2").is_some());
        drop(first);
        let _again = connect("192.0.2.1").unwrap();
        let _one = connect("2001:db8::1").unwrap();
        let _two = connect("2001:db8::2").unwrap();
        assert!(connect("2001:db8::3").is_none(), "one network");
        assert!(connect("2001:db8:0:1::3").is_some());
        let local: Vec<_> = (0..10).map(|_| connect("127.0.0.1")).collect();
        assert!(local.iter().all(Option::is_some));
    }

    #[test]
    fn an_address_opens_connections_no_faster_than_it_may() {
        let addresses = addresses(1000, 3);
        let address = "192.0.2.1".parse().unwrap();
        let opened = (0..1000).filter(|_| addresses.connect(address).is_some());
        assert!((3..1000).contains(&opened.count()));
    }

    #[test]
    fn addresses_beyond_those_that_are_told_apart_share_what_one_may() {
        let addresses = addresses(1, 1000);
        let connect = |n: u32| addresses.connect(IpAddr::V4((0x0100_0000 + n).into()));
        let kept: Vec<_> = (0..ADDRESSES_MAX as u32)
            .map(|n| connect(n).unwrap())
            .collect();
        let beyond = connect(ADDRESSES_MAX as u32);
        assert!(beyond.is_some());
        assert!(connect(ADDRESSES_MAX as u32 + 1).is_none());
        drop((kept, beyond));
        let by_address = addresses.by_address.lock().unwrap();
        assert!(by_address.len() <= ADDRESSES_MAX + 1);
    }
}
