//! What a server says of itself before anything else: the frame `connection.start` of AMQP 0.9.1.

use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, FieldTable};

/// How much of the frame is looked at, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// A frame's type, channel and length; a method's class and number; the protocol's version.
const HEAD_BYTES: usize = 7;
const METHOD_BYTES: usize = 6;
/// A method frame on channel 0.
const METHOD_FRAME: [u8; 3] = [1, 0, 0];
/// Class connection, method start.
const START: [u8; 4] = [0, 10, 0, 10];

/// The properties of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerProperties {
    pub(super) product: String,
    pub(super) version: String,
    pub(super) cluster: String,
    /// Such as `Erlang/OTP 25.2.3`.
    pub(super) platform: String,
}

/// Whether `heard` holds the first frame, or never will.
pub(super) fn is_whole(heard: &[u8]) -> bool {
    match heard {
        [_, _, _, a, b, c, d, ..] => {
            let body = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            heard.len() >= HEAD_BYTES.saturating_add(body).min(BYTES_MAX)
        }
        _ => false,
    }
}

impl ServerProperties {
    /// `None` when it is not one of AMQP 0.9.1.
    pub(super) fn of(heard: &[u8]) -> Option<Self> {
        let method = heard.strip_prefix(&METHOD_FRAME)?.get(4..)?;
        let arguments = method.strip_prefix(&START)?;
        let table = arguments.get(METHOD_BYTES - START.len()..)?;
        let (_, properties) = parse_field_table(table).ok()?;
        Some(Self {
            product: text(&properties, "product"),
            version: text(&properties, "version"),
            cluster: text(&properties, "cluster_name"),
            platform: text(&properties, "platform"),
        })
    }

    /// Major and minor version.
    pub(super) fn release(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.split('.');
        let major = parts.next()?.parse().ok()?;
        Some((major, parts.next()?.parse().ok()?))
    }
}

fn text(properties: &FieldTable, name: &str) -> String {
    match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    }
}
