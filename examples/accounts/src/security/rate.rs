//! How often an address may try something that costs a hash.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many attempts an address has at once.
pub const ATTEMPTS_MAX: u32 = 20;
/// How long it takes until it has another.
pub const ATTEMPT_EVERY: Duration = Duration::from_millis(500);
/// How many addresses are told apart; all beyond share the attempts of one.
pub const ADDRESSES_MAX: usize = 16_384;

/// A bucket of attempts for each address.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<Option<IpAddr>, Instant>>);

impl Rates {
    /// Takes an attempt; how long until there is one, if there is none.
    ///
    /// # Errors
    /// How long that is.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = Some(network(address));
        if !full_at.contains_key(&bucket) && full_at.len() >= ADDRESSES_MAX {
            // A full bucket is as good as none.
            full_at.retain(|_, full_at| *full_at > now);
            if full_at.len() >= ADDRESSES_MAX {
                bucket = None;
            }
        }
        let full_at = full_at.entry(bucket).or_insert(now);
        let next = (*full_at).max(now) + ATTEMPT_EVERY;
        match (next - now).checked_sub(ATTEMPT_EVERY * ATTEMPTS_MAX) {
            None | Some(Duration::ZERO) => {
                *full_at = next;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

/// Whoever has one IPv6 address has its /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_attempts_and_then_one_now_and_then() {
        let (rates, start) = (Rates::default(), Instant::now());
        let take = |address: &str, ms| {
            rates.take(address.parse().unwrap(), start + Duration::from_millis(ms))
        };
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(take("192.0.2.7", 0), Ok(()));
        }
        assert_eq!(take("192.0.2.7", 0), Err(ATTEMPT_EVERY));
        assert_eq!(take("192.0.2.7", 300), Err(Duration::from_millis(200)));
        assert_eq!(take("192.0.2.8", 0), Ok(()));
        assert_eq!(take("192.0.2.7", 500), Ok(()));
        assert!(take("192.0.2.7", 500).is_err());
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(take("2001:db8::1", 0), Ok(()));
        }
        assert!(take("2001:db8::2", 0).is_err(), "one network");
    }

    #[test]
    fn addresses_beyond_those_that_are_told_apart_share_what_one_has() {
        let (rates, now) = (Rates::default(), Instant::now());
        for number in 0..ADDRESSES_MAX as u32 {
            rates.take(IpAddr::V4(number.into()), now).unwrap();
        }
        for _ in 0..ATTEMPTS_MAX {
            rates.take(IpAddr::V4(u32::MAX.into()), now).unwrap();
        }
        assert!(rates.take(IpAddr::V4((u32::MAX - 1).into()), now).is_err());
        assert_eq!(rates.0.lock().unwrap().len(), ADDRESSES_MAX + 1);
    }
}
