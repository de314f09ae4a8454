//! Requests of senders of webhooks, and files of secrets, for fuzzers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ensue::{Envelope, Timestamp};

use super::keyring;
use super::signature::{self, Claim};

/// When the fuzzer's requests are received, in seconds since the epoch.
pub(crate) const NOW_S: i64 = 1_700_000_000;
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOLERANCE: Duration = Duration::from_secs(300);

/// Headers, a line each, an empty line, and a body.
pub(crate) fn received(bytes: &[u8]) -> bool {
    let (headers, body) = request(bytes);
    let now = Timestamp::from_micros(NOW_S * 1_000_000);
    let (Ok(secrets), Ok(claim)) = (keyring::parse(SECRET), Claim::of(&headers, now, TOLERANCE))
    else {
        return false;
    };
    let verified = claim.verify(&secrets, now, body);
    // Whoever sent it: what comes after takes any body.
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|it| it.to_str().ok());
    let event = Envelope::builder("in", "received").id(claim.into_id());
    let event = event.opaque_payload(content_type.unwrap_or_default(), body.to_vec());
    if let Ok(event) = event.build() {
        assert_eq!(event.payload(), body);
    }
    verified.is_ok()
}

/// A file of secrets.
pub(crate) fn secrets(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| keyring::parse(text).is_ok())
}

/// A request that is its sender's.
pub(crate) fn seed() -> Option<Vec<u8>> {
    let now = Timestamp::from_micros(NOW_S * 1_000_000);
    let body = br#"{"data":{"order_id":17}}"#;
    let signed = signature::sign(&keyring::parse(SECRET).ok()?, now, "msg_1", body)?;
    let head = format!(
        "webhook-id: msg_1\nwebhook-timestamp: {}\nwebhook-signature: {}\ncontent-type: application/json\n\n",
        signed.timestamp, signed.signatures
    );
    Some([head.as_bytes(), body].concat())
}

/// The headers of a request that are headers, and its body.
pub(crate) fn request(bytes: &[u8]) -> (HeaderMap, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let head = end.map_or(bytes, |end| bytes.get(..end).unwrap_or_default());
    let body = end.and_then(|end| bytes.get(end + 2..)).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    (headers, body)
}
