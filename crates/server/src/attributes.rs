//! The attributes of an event, as expressions of CloudEvents SQL see them.

use ensue::{Envelope, ExtensionValue};
use ensue_cesql::{Attributes, Value};

/// An event.
pub(crate) struct OfEvent<'a>(pub(crate) &'a Envelope);

impl Attributes for OfEvent<'_> {
    fn attribute(&self, name: &str) -> Option<Value<'_>> {
        Some(match self.0.cloudevent_attribute(name)? {
            ExtensionValue::Text(text) => Value::Text(text),
            ExtensionValue::Integer(number) => Value::Integer(number),
            ExtensionValue::Boolean(truth) => Value::Boolean(truth),
        })
    }
}
