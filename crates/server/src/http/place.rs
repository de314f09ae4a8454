//! Places in the log as clients write and see them.

use std::borrow::Cow;

use ensue::{Position, Start};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::openapi::PositionText;

/// A position, written as a string: some readers of JSON round numbers beyond 2⁵³. A number is read, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) Position);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a position: a number, or a string of digits")]
        enum Form {
            Number(u64),
            Text(String),
        }
        let number = match Form::deserialize(deserializer)? {
            Form::Number(number) => Some(number),
            Form::Text(text) => text.parse().ok(),
        };
        let number = number.ok_or_else(|| serde::de::Error::custom("a position is a number"))?;
        Ok(Self(Position::new(number)))
    }
}

impl JsonSchema for Place {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = PositionText::json_schema(generator);
        if generator.contract().is_serialize() {
            return text;
        }
        let number = json_schema!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
        json_schema!({ "anyOf": [text, number] })
    }
}

/// `earliest`, `latest`, a cursor or position, or a time; `None` when it is something else.
pub(super) fn start(text: &str) -> Option<Start> {
    match text {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        text => match (text.parse(), text.parse()) {
            (Ok(cursor), _) => Some(Start::Cursor(cursor)),
            (_, Ok(time)) => Some(Start::Time(time)),
            _ => None,
        },
    }
}
