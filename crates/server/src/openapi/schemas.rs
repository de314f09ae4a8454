//! The schemas of types, as they are read and as they are written.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Where schemas refer to each other.
pub(super) const PLACE: &str = "/components/schemas";

/// The schemas that others refer to. A member that may be left out of what is read may always be there in what
/// is written, so each has its own.
#[derive(Debug)]
pub(crate) struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = PLACE.into();
            settings.meta_schema = None;
        });
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }
}

impl Schemas {
    /// The schema of a `T` that is read.
    pub(super) fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// The schema of a `T` that is written.
    pub(super) fn written<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    /// What the schema of something that is written says of itself.
    pub(super) fn description(&self, schema: &Value) -> Option<String> {
        let name = schema["$ref"].as_str();
        let name = name.and_then(|it| it.strip_prefix("#")?.strip_prefix(PLACE)?.strip_prefix('/'));
        let schema = name.and_then(|name| self.written.definitions().get(name));
        schema?["description"].as_str().map(str::to_owned)
    }

    /// All that others refer to, by name.
    pub(super) fn finish(self) -> Map<String, Value> {
        let Self {
            mut read,
            mut written,
        } = self;
        let mut all = read.take_definitions(true);
        all.extend(written.take_definitions(true));
        all
    }

    /// The names that are something else where they are read than where they are written.
    #[cfg(test)]
    pub(super) fn ambiguous(&self) -> Vec<String> {
        let read = self.read.definitions().iter();
        let written = self.written.definitions();
        let differ = |(name, schema): &(&String, &Value)| {
            written.get(*name).is_some_and(|other| other != *schema)
        };
        let ambiguous = read.filter(differ);
        ambiguous.map(|(name, _)| name.clone()).collect()
    }
}

/// The schema of one of these values, or `null`.
pub(crate) fn one_of_or_null<T: Serialize>(values: &[T]) -> Schema {
    json_schema!({ "anyOf": [one_of(values), { "type": "null" }] })
}

/// The schema of one of these values, for types of crates that know no schemas.
pub(crate) fn one_of<T: Serialize>(values: &[T]) -> Schema {
    json_schema!({ "type": "string", "enum": json!(values) })
}
