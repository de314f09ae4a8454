//! Events, in the JSON format of CloudEvents.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::values;

/// An event that is to be appended.
#[derive(Debug)]
pub(crate) enum NewEvent {}

/// An event as it is given to a client.
#[derive(Debug)]
pub(crate) enum AnyEvent {}

/// An event as a reader gets it: with its place in the log.
#[derive(Debug)]
pub(crate) enum RecordedEvent {}

/// An event that follows from another one.
#[derive(Debug)]
pub(crate) enum EffectEvent {}

/// An event that answers another one.
#[derive(Debug)]
pub(crate) enum ReplyEvent {}

impl JsonSchema for NewEvent {
    fn schema_name() -> Cow<'static, str> {
        "NewEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let what = "A CloudEvent to append. The `topic` may be in the query instead.";
        given(what, &["specversion", "id", "source", "type"])
    }
}

impl JsonSchema for EffectEvent {
    fn schema_name() -> Cow<'static, str> {
        "EffectEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let what = "A CloudEvent that follows from the one at hand. What is left out is filled in: its id derives from \
                    the cause, so that a redelivery has the same effects.";
        given(what, &["type", "topic"])
    }
}

impl JsonSchema for ReplyEvent {
    fn schema_name() -> Cow<'static, str> {
        "ReplyEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        given(
            "A CloudEvent that answers a request. Its topic is where the requester waits.",
            &["type"],
        )
    }
}

impl JsonSchema for AnyEvent {
    fn schema_name() -> Cow<'static, str> {
        "CloudEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let required = ["specversion", "id", "source", "type", "topic", "time"];
        object("A CloudEvent.", &required, attributes(), &EXTENSION)
    }
}

impl JsonSchema for RecordedEvent {
    fn schema_name() -> Cow<'static, str> {
        "RecordedEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut members = attributes();
        for (name, schema) in [
            (
                "ensueposition",
                json!({ "type": "string", "pattern": values::POSITION, "description": "Where it is in the log." }),
            ),
            (
                "ensueappended",
                json!({ "type": "string", "format": "date-time", "description": "When it was appended." }),
            ),
        ] {
            members.insert(name.to_owned(), schema);
        }
        let required = [
            "specversion",
            "id",
            "source",
            "type",
            "topic",
            "time",
            "ensueposition",
            "ensueappended",
        ];
        object(
            "A CloudEvent, and where it is.",
            &required,
            members,
            &EXTENSION,
        )
    }
}

/// What an extension may be.
const EXTENSION: [&str; 3] = ["string", "integer", "boolean"];

/// What every event may have.
fn attributes() -> Map<String, Value> {
    let text = |what: &str| json!({ "type": "string", "minLength": 1, "description": what });
    let members = [
        ("specversion", json!({ "const": "1.0" })),
        ("id", text("With `source`, what the event is known by.")),
        (
            "source",
            text("What it happened to or in; a URI reference."),
        ),
        ("type", text("What happened.")),
        (
            "topic",
            json!({ "type": "string", "pattern": values::ANY_TOPIC, "maxLength": 200 }),
        ),
        (
            "subject",
            text("The key: events of a topic with equal keys keep their order."),
        ),
        (
            "time",
            json!({ "type": "string", "format": "date-time", "description": "When it happened." }),
        ),
        ("datacontenttype", text("The media type of the payload.")),
        ("dataschema", text("What the payload keeps to; a URI.")),
        (
            "data",
            json!({ "description": "The payload, if it is JSON or text." }),
        ),
        (
            "data_base64",
            json!({ "type": "string", "contentEncoding": "base64", "description": "Any other payload." }),
        ),
    ];
    let members = members.into_iter();
    members
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// One that clients write. An attribute that is `null` is not there.
fn given(what: &str, required: &[&str]) -> Schema {
    let mut members = attributes();
    let topic = json!({ "type": "string", "pattern": values::TOPIC, "maxLength": 200 });
    members.insert("topic".to_owned(), topic);
    for (name, schema) in &mut members {
        if !required.contains(&name.as_str()) && name != "data" {
            *schema = json!({ "anyOf": [schema, { "type": "null" }] });
        }
    }
    object(
        what,
        required,
        members,
        &["string", "integer", "boolean", "null"],
    )
}

fn object(
    what: &str,
    required: &[&str],
    members: Map<String, Value>,
    extension: &[&str],
) -> Schema {
    json_schema!({
        "type": "object",
        "description": what,
        "properties": members,
        "propertyNames": { "pattern": "^([a-z0-9]+|data_base64)$" },
        "additionalProperties": { "type": extension },
        "required": required,
    })
}
