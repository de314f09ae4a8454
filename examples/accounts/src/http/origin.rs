//! Where a request comes from, and whether it may.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::problem::Problem;
use super::site::Site;
use crate::security::network;

/// The other end of a connection: an extension of each request on it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The address of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin(pub(super) IpAddr);

const FORWARDED_FOR: &str = "x-forwarded-for";

impl FromRequestParts<Site> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>();
        let peer = peer.map_or(IpAddr::from([0; 4]), |peer| peer.0.ip().to_canonical());
        if !(site.0.is_proxied && peer.is_loopback()) {
            return Ok(Self(peer));
        }
        // The proxy adds whom it has seen at the end; what is before it, anybody may have written.
        let values = parts.headers.get_all(FORWARDED_FOR).iter();
        let last = values.filter_map(|value| value.to_str().ok()).next_back();
        let last = last.and_then(|text| text.rsplit(',').next());
        let forwarded = last.and_then(|text| text.trim().parse::<IpAddr>().ok());
        Ok(Self(forwarded.map_or(peer, |it| it.to_canonical())))
    }
}

impl Origin {
    /// As events have it, and as it is blocked: of an IPv6 address the /64, in which whoever has one address
    /// has all.
    pub(super) fn text(self) -> String {
        match network(self.0) {
            IpAddr::V6(network) => format!("{network}/64"),
            address => address.to_string(),
        }
    }

    /// Whether it may try something that costs a hash, now.
    pub(super) fn admit(self, site: &Site) -> Result<(), Problem> {
        let now = site.0.accounts.now();
        if let Some(until) = site.0.blocked.until(&self.text(), now) {
            let detail = "too many wrong passwords came from this address";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "address-blocked", detail);
            return Err(problem.later(until.since(now)));
        }
        site.0
            .rates
            .take(self.0, Instant::now())
            .map_err(|wait: Duration| {
                let detail = "too many attempts came from this address in too short a time";
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", detail).later(wait)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_ipv6_network_are_watched_and_blocked_as_one() {
        let text = |address: &str| Origin(address.parse().unwrap()).text();
        assert_eq!(text("2001:db8::1"), "2001:db8::/64");
        assert_eq!(text("2001:db8::1"), text("2001:db8:0:0:ffff::2"));
        assert_ne!(text("2001:db8::1"), text("2001:db8:0:1::1"));
        assert_eq!(text("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
