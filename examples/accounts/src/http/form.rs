//! The fields of a request: all that is wrong with them is said at once.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::str::FromStr;

use axum::http::StatusCode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::problem::{FieldError, Problem};
use crate::secrets::{Password, PasswordProblem};

/// The fields of a JSON object, and what is wrong with those that were read.
pub(super) struct Form {
    fields: Map<String, Value>,
    /// The names that more than one field has: readers do not agree which of them counts.
    twice: BTreeSet<String>,
    errors: Vec<FieldError>,
}

/// The fields of a JSON object, and the names that several have.
#[derive(Default)]
struct Fields {
    values: Map<String, Value>,
    twice: BTreeSet<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.values.insert(name.clone(), value).is_some() {
                        fields.twice.insert(name);
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Form {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let parsed: Result<Fields, _> = serde_json::from_slice(body);
        // What is wrong with it is said without what it is: it may have a password.
        let fields = parsed.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let detail =
                format!("expected is a JSON object; line {line}, column {column} is not of one");
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
        })?;
        let mut form = Self {
            fields: fields.values,
            twice: fields.twice,
            errors: Vec::new(),
        };
        for name in form.twice.clone() {
            form.fields.remove(&name);
            form.refuse(&name, "it is there twice");
        }
        Ok(form)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.refuse(name, "expected is a text"),
            None if self.twice.iter().any(|it| it == name) => {}
            None => self.refuse(name, "it is missing"),
        }
        None
    }

    /// A text that is read as something.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        self.checked(name, text.parse())
    }

    /// A text, if it is what this says.
    pub(super) fn text_as<T, E: Display>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.checked(name, check(&text))
    }

    /// A password.
    pub(super) fn password(
        &mut self,
        name: &str,
        check: fn(String) -> Result<Password, PasswordProblem>,
    ) -> Option<Password> {
        let text = self.text(name)?;
        self.checked(name, check(text))
    }

    fn checked<T, E: Display>(&mut self, name: &str, checked: Result<T, E>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(name, error);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, detail: impl Display) {
        self.errors
            .push(FieldError::of_field(name, detail.to_string()));
    }

    /// All that was read, if nothing was wrong with any of it. A field that nobody knows is an error,
    /// too: it would be a wish that is not fulfilled.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        let unknown: Vec<_> = std::mem::take(&mut self.fields).into_iter().collect();
        for (name, _) in unknown {
            self.refuse(&name, "there is no such field");
        }
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(Problem::invalid(self.errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the fields `a` and `b` of a body.
    fn errors(body: &str) -> Vec<String> {
        let mut form = Form::parse(body.as_bytes()).ok().unwrap();
        let read = form.text("a").zip(form.text("b"));
        let shown = |it: &FieldError| format!("{} {}", it.pointer.as_deref().unwrap(), it.detail);
        let errors = form.errors.iter().map(shown).collect();
        assert_eq!(
            form.finish(read).is_ok(),
            Vec::<String>::is_empty(&errors),
            "{body}"
        );
        errors
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_once() {
        assert!(errors(r#"{"a": "1", "b": "2"}"#).is_empty());
        assert_eq!(
            errors(r#"{"a": "1", "b": "2", "a": "1"}"#),
            ["/a it is there twice"]
        );
        assert_eq!(
            errors(r#"{"a": 1, "\u0061": "1"}"#),
            ["/a it is there twice", "/b it is missing"]
        );
    }

    #[test]
    fn what_is_no_object_is_refused_without_what_it_is() {
        for body in ["", "[]", "\"a\"", "{\"a\": \"secret\"", "{} {}", "null"] {
            assert!(Form::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
