//! An entry of the audit trail, and how it is written.

use ensue::{Codec, Envelope, InvalidEvent, Timestamp};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The topic of the audit trail: a reader, a group or a pattern has to spell it.
pub const AUDIT_TOPIC: &str = "_audit";
/// All entries have one key: they are one chain.
pub(super) const KEY: &str = "audit";
const TYPE: &str = "ensue.audit";
const SOURCE: &str = "/ensue/server";
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1000;

/// What an operator does.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Such as `group.reset`.
    pub(crate) action: &'static str,
    /// To what, with everything that says how.
    pub(crate) target: Value,
    pub(crate) reason: Option<Reason>,
}

/// Why an operator does it, in their own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Reason(String);

impl Operation {
    pub(crate) fn new(action: &'static str, target: Value) -> Self {
        Self {
            action,
            target,
            reason: None,
        }
    }
}

impl Reason {
    /// A text that says something; `None` when it says nothing or too much.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_one = !text.is_empty() && text.len() <= REASON_BYTES_MAX;
        is_one.then(|| Self(text.to_owned()))
    }
}

/// How far the operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// It begins. Without an entry that ends it, it may have happened.
    Requested,
    Done,
    Failed,
}

/// Who does it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Actor {
    pub(super) name: String,
    /// How they proved it: `token`, `certificate`, `reach`.
    pub(super) by: &'static str,
    /// Which token it was.
    pub(super) token: Option<String>,
    pub(super) address: Option<String>,
}

/// An entry, as its payload has it.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// From 1, without gaps.
    pub(super) number: u64,
    /// The hash of the entry before; of the first one, nothing.
    pub(super) previous: Option<&'a str>,
    pub(super) at: Timestamp,
    pub(super) actor: &'a Actor,
    pub(super) action: &'static str,
    pub(super) target: &'a Value,
    pub(super) reason: Option<&'a Reason>,
    pub(super) stage: Stage,
    /// Which entry this one ends.
    pub(super) ends: Option<u64>,
    /// What came of it: how many, or the code of a problem.
    pub(super) outcome: Option<&'a Value>,
}

/// What of an entry makes the chain.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) previous: Option<String>,
}

/// An entry as an event. Its id is the hash of its payload, which cannot be known before: an event of
/// someone else cannot make it a duplicate.
pub(super) fn event(payload: Vec<u8>) -> Result<Envelope, InvalidEvent> {
    let hash = hash(&payload);
    let builder = Envelope::builder(AUDIT_TOPIC, TYPE).key(KEY).source(SOURCE);
    builder.id(hash).payload(Codec::Json, payload).build()
}

/// The hash of an entry's payload, in hexadecimal digits.
pub(super) fn hash(payload: &[u8]) -> String {
    let hash = digest(&SHA256, payload);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
