//! Bodies that no device or filesystem can compress, and that say which event they belong to.

use crate::Outcome;

const POOL_BYTES: usize = 4 * 1024 * 1024;
const NUMBER_BYTES: usize = 8;

/// The bodies of a run: the number of the event, then random bytes that follow from it.
pub(crate) struct Payloads {
    pool: Vec<u8>,
}

impl Payloads {
    /// The same bodies in every process, so that one can verify what another has written.
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(0x0065_6e73_7565);
        let mut pool = vec![0; POOL_BYTES];
        random.fill(&mut pool);
        Self { pool }
    }

    /// Writes the body of event `number` over `body`.
    pub(crate) fn fill(&self, number: u64, body: &mut [u8]) {
        if let Some((head, rest)) = body.split_at_mut_checked(NUMBER_BYTES) {
            head.copy_from_slice(&number.to_le_bytes());
            rest.copy_from_slice(self.random(number, rest.len()));
        }
    }

    /// Which event a body belongs to, if every byte of it is right.
    pub(crate) fn number_of(&self, body: &[u8]) -> Option<u64> {
        let (head, rest) = body.split_first_chunk::<NUMBER_BYTES>()?;
        let number = u64::from_le_bytes(*head);
        (rest == self.random(number, rest.len())).then_some(number)
    }

    /// An error unless `body` is that of event `expected`, byte for byte.
    pub(crate) fn verify(&self, expected: u64, body: &[u8]) -> Outcome<()> {
        match self.number_of(body) {
            Some(number) if number == expected => Ok(()),
            Some(number) => Err(format!("event {number} stands where {expected} belongs").into()),
            None => Err(format!("the body of event {expected} is altered").into()),
        }
    }

    fn random(&self, number: u64, bytes: usize) -> &[u8] {
        let room = POOL_BYTES.saturating_sub(bytes).max(1) as u64;
        // Neighbours differ in where they start.
        let at = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % room) as usize;
        self.pool.get(at..at + bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_its_event_and_tells_when_it_is_altered() {
        let payloads = Payloads::new();
        let mut body = [0; 100];
        payloads.fill(7, &mut body);
        assert_eq!(payloads.number_of(&body), Some(7));
        assert!(payloads.verify(8, &body).is_err());
        body[50] ^= 1;
        assert_eq!(payloads.number_of(&body), None);
    }
}
