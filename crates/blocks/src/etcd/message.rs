//! Requests and answers: bytes are base64, whole numbers of 64 bits are texts, and what is zero is left out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// A key and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    pub(crate) key: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    pub(crate) value: Vec<u8>,
    #[serde(deserialize_with = "number")]
    pub(crate) create_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(crate) mod_revision: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
}

/// The keys of a range.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    pub(super) header: Header,
    pub(super) kvs: Vec<KeyValue>,
}

/// What came of a transaction.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transaction {
    pub(super) succeeded: bool,
    pub(super) responses: Vec<Response>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response {
    pub(super) response_range: Option<Range>,
}

/// One message of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Streamed<T> {
    pub(super) result: Option<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alive {
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) canceled: bool,
    pub(super) events: Vec<serde_json::Value>,
}

/// Why it refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) error: serde_json::Value,
    pub(super) message: String,
}

/// Bytes, as a request has them.
pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The first key after all that begin with `prefix`, which does not end with 0xFF.
pub(crate) fn end_of_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map_err(D::Error::custom)
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_etcd_writes_it() {
        let text = r#"{"header":{"revision":"7","cluster_id":"1"},"succeeded":true,"responses":[
            {"response_put":{"header":{"revision":"7"}}},
            {"response_range":{"kvs":[{"key":"a2V5","create_revision":"5","mod_revision":"7","version":"2"}],"count":"1"}}]}"#;
        let answer: Transaction = serde_json::from_str(text).unwrap();
        assert!(answer.succeeded);
        let range = answer.responses[1].response_range.as_ref().unwrap();
        let expected = KeyValue {
            key: b"key".to_vec(),
            value: Vec::new(),
            create_revision: 5,
            mod_revision: 7,
        };
        assert_eq!(range.kvs, [expected]);
        let alive: Streamed<Alive> = serde_json::from_str(r#"{"result":{"ID":"3"}}"#).unwrap();
        assert_eq!(alive.result.unwrap().ttl, 0, "a lease that has ended");
    }

    #[test]
    fn a_prefix_ends_before_its_neighbours() {
        assert_eq!(end_of_prefix("locks/a/"), b"locks/a0");
    }
}
