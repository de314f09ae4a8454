//! Signatures of Standard Webhooks, as headers: making them, and verifying them.

use std::time::Duration;

use axum::http::HeaderMap;
use ensue::Timestamp;

use super::keyring::Dated;
use super::secret::Signatures;

pub(crate) const ID: &str = "webhook-id";
pub(crate) const TIMESTAMP: &str = "webhook-timestamp";
pub(crate) const SIGNATURE: &str = "webhook-signature";

/// The longest id that is taken, in bytes: it becomes the id of an event.
const ID_BYTES_MAX: usize = ensue::ATTRIBUTE_BYTES_MAX;

/// What a delivery is signed with.
#[derive(Debug)]
pub(super) struct Signed {
    /// When, in seconds since the epoch.
    pub(super) timestamp: i64,
    /// One signature for each secret in force, separated by blanks.
    pub(super) signatures: String,
}

/// Signs a message with every secret that is in force; `None` when none of them signs.
pub(super) fn sign(secrets: &[Dated], now: Timestamp, id: &str, body: &[u8]) -> Option<Signed> {
    let timestamp = seconds(now);
    let message = message(id, &timestamp.to_string(), body);
    let in_force = secrets.iter().filter(|dated| dated.is_in_force(now));
    let signatures: Vec<String> = in_force
        .filter_map(|dated| dated.secret.sign(&message))
        .collect();
    (!signatures.is_empty()).then(|| Signed {
        timestamp,
        signatures: signatures.join(" "),
    })
}

/// Why a request is not taken for one of its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unverified {
    #[error("the header `{0}` is missing, is there twice or is malformed")]
    Header(&'static str),
    #[error(
        "the timestamp of the request is {0} from the clock of this server, which is more than its \
         tolerance; send it again with a new timestamp and signature"
    )]
    Stale(String),
    #[error(
        "no signature of the request is one of this sender's secrets for this id, time and body"
    )]
    Signature,
}

/// What the headers of a request claim: known before its body is read.
#[derive(Debug)]
pub(crate) struct Claim {
    id: String,
    /// As it was sent, which is what was signed.
    timestamp: String,
    /// The same, in seconds since the epoch.
    sent: i64,
    signatures: Signatures,
}

impl Claim {
    /// The claim of these headers, if it is whole and was made now, give or take `tolerance`.
    pub(super) fn of(
        headers: &HeaderMap,
        now: Timestamp,
        tolerance: Duration,
    ) -> Result<Self, Unverified> {
        let required = |name| single(headers, name).ok_or(Unverified::Header(name));
        let (id, timestamp) = (required(ID)?, required(TIMESTAMP)?);
        let signatures = Signatures::parse(required(SIGNATURE)?);
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(Unverified::Header(ID));
        }
        let sent = timestamp.parse();
        let claim = Self {
            id: id.to_owned(),
            timestamp: timestamp.to_owned(),
            sent: sent.map_err(|_| Unverified::Header(TIMESTAMP))?,
            signatures,
        };
        claim.must_be_of(now, tolerance)?;
        if claim.signatures.is_empty() {
            return Err(Unverified::Signature);
        }
        Ok(claim)
    }

    /// Refuses what was not sent now, give or take `tolerance`.
    pub(super) fn must_be_of(&self, now: Timestamp, tolerance: Duration) -> Result<(), Unverified> {
        let off = seconds(now).abs_diff(self.sent);
        if off > tolerance.as_secs() {
            return Err(Unverified::Stale(format!("{off} s")));
        }
        Ok(())
    }

    /// Whether one of the signatures is one of these secrets'. It takes time with the length of the body,
    /// for each of the secrets.
    pub(super) fn verify(
        &self,
        secrets: &[Dated],
        now: Timestamp,
        body: &[u8],
    ) -> Result<(), Unverified> {
        let message = message(&self.id, &self.timestamp, body);
        let mut in_force = secrets.iter().filter(|dated| dated.is_in_force(now));
        if in_force.any(|dated| dated.secret.verifies_one_of(&self.signatures, &message)) {
            return Ok(());
        }
        Err(Unverified::Signature)
    }

    pub(super) fn into_id(self) -> String {
        self.id
    }
}

fn message(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(id.len() + timestamp.len() + 2 + body.len());
    message.extend_from_slice(id.as_bytes());
    message.push(b'.');
    message.extend_from_slice(timestamp.as_bytes());
    message.push(b'.');
    message.extend_from_slice(body);
    message
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::super::secret::tests::{PRIVATE, SHARED};
    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(300);

    fn dated(text: &str, until: Option<Timestamp>) -> Dated {
        Dated {
            secret: Secret::parse(text).unwrap(),
            until,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn verify(
        secrets: &[Dated],
        (now, tolerance): (Timestamp, Duration),
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<String, Unverified> {
        let claim = Claim::of(headers, now, tolerance)?;
        claim.verify(secrets, now, body)?;
        Ok(claim.into_id())
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_signature_is_that_of_the_standards_own_example() {
        // From the tests of the official libraries.
        let secrets = [dated(SHARED, None)];
        let body = br#"{"test": 2432232314}"#;
        let signed = sign(
            &secrets,
            at(1_614_265_330),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            body,
        );
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed.unwrap().signatures, expected);
    }

    #[test]
    fn a_message_is_signed_with_every_secret_in_force_and_verifies_with_each() {
        let new = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let secrets = [
            dated(new, None),
            dated(SHARED, Some(at(1_000))),
            dated(PRIVATE, None),
        ];
        let signed = |now: i64| sign(&secrets, at(now), "m", b"body").unwrap().signatures;
        assert_eq!(signed(999).split(' ').count(), 3);
        assert_eq!(signed(1_000).split(' ').count(), 2);
        let signatures = signed(999);
        let request = headers(&[(ID, "m"), (TIMESTAMP, "999"), (SIGNATURE, &signatures)]);
        for secret in [new, SHARED, PRIVATE] {
            let one = [dated(secret, None)];
            let verified = verify(&one, (at(999), TOLERANCE), &request, b"body");
            assert_eq!(verified, Ok("m".to_owned()), "{secret}");
        }
        // The old secret is out of force at the receiver.
        let old = [dated(SHARED, Some(at(1_000)))];
        let verified = verify(&old, (at(1_001), TOLERANCE), &request, b"body");
        assert_eq!(verified, Err(Unverified::Signature));
    }

    #[test]
    fn what_was_changed_is_replayed_late_or_incomplete_is_refused() {
        let secrets = [dated(SHARED, None)];
        let signed = sign(&secrets, at(1_000), "m", b"body").unwrap().signatures;
        let request = headers(&[(ID, "m"), (TIMESTAMP, "1000"), (SIGNATURE, &signed)]);
        let check = |headers: &HeaderMap, now: i64, body: &[u8]| {
            verify(&secrets, (at(now), TOLERANCE), headers, body)
        };
        assert!(check(&request, 1_000, b"body").is_ok());
        assert!(check(&request, 1_300, b"body").is_ok());
        assert!(check(&request, 700, b"body").is_ok());
        assert_eq!(check(&request, 1_000, b"bodY"), Err(Unverified::Signature));
        for now in [1_301, 699] {
            let error = check(&request, now, b"body").unwrap_err();
            assert_eq!(error, Unverified::Stale("301 s".into()));
        }
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut lacking = request.clone();
            lacking.remove(name);
            assert_eq!(
                check(&lacking, 1_000, b"body"),
                Err(Unverified::Header(name))
            );
            let mut twice = request.clone();
            twice.append(name, "1".parse().unwrap());
            assert_eq!(check(&twice, 1_000, b"body"), Err(Unverified::Header(name)));
        }
        for signature in ["", "v1", "v1,", "v1,!", "v2,AAAA", "v1 AAAA"] {
            let request = headers(&[(ID, "m"), (TIMESTAMP, "1000"), (SIGNATURE, signature)]);
            assert!(check(&request, 1_000, b"body").is_err(), "{signature}");
        }
        let far = headers(&[
            (ID, "m"),
            (TIMESTAMP, "-9223372036854775808"),
            (SIGNATURE, &signed),
        ]);
        assert!(matches!(
            check(&far, 1_000, b"body"),
            Err(Unverified::Stale(_))
        ));
    }
}
