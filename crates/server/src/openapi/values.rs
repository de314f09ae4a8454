//! Schemas of single values, for members whose types are of crates that know no schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(super) const POSITION: &str = "^[0-9]{1,19}$";
pub(super) const CURSOR: &str = r"^[0-9]{1,19}(\.[0-9]{1,19})*$";
/// The commonest forms of those that are read.
pub(super) const DURATION: &str = r"^[0-9]{1,6}(ms|s|m|h|d|w)$";
pub(super) const TOPIC: &str = r"^[A-Za-z0-9-][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$";
/// Those that Ensue keeps for itself are among them.
pub(super) const ANY_TOPIC: &str = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$";
pub(super) const TOPIC_PATTERN: &str = r"^([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.>)?$|^>$";

macro_rules! values {
    ($($(#[doc = $what:literal])+ $name:ident = $schema:expr;)+) => {
        $(
            $(#[doc = $what])+
            #[derive(Debug)]
            pub(crate) enum $name {}

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $schema
                }
            }
        )+
    };
}

values! {
    /// A time, of RFC 3339.
    Time = json_schema!({ "type": "string", "format": "date-time" });
    /// A duration such as `90s`.
    DurationText = json_schema!({ "type": "string", "pattern": DURATION, "examples": ["30s", "500ms", "2h"] });
    /// The place of an event in the log.
    PositionText = json_schema!({ "type": "string", "pattern": POSITION });
    /// A place in the log, for each of its partitions.
    CursorText = json_schema!({ "type": "string", "pattern": CURSOR });
    /// A topic or a pattern.
    TopicPatternText = json_schema!({ "type": "string", "pattern": TOPIC_PATTERN, "maxLength": 200 });
    /// Where a reader or a group starts.
    StartText = start();
    /// Bytes.
    Base64Text = json_schema!({ "type": "string", "contentEncoding": "base64" });
    /// Why something is refused.
    ProblemDocument = json_schema!({ "$ref": "#/components/schemas/Problem" });
    /// JSON of any kind, as it was written.
    Anything = json_schema!({});
}

/// A place in the log, or a word for one.
pub(super) fn start() -> Schema {
    json_schema!({ "anyOf": [
        { "enum": ["earliest", "latest"] },
        { "type": "string", "pattern": CURSOR },
        { "type": "string", "format": "date-time" },
    ]})
}
