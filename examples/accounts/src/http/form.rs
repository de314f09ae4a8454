//! The fields of a request: all that is wrong with them is said at once.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::problem::{FieldError, Problem};
use crate::secrets::{Password, PasswordProblem};

/// The fields of a JSON object, and what is wrong with those that were read.
pub(super) struct Form {
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Form {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(body);
        // What is wrong with it is said without what it is: it may have a password.
        let fields = parsed.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let detail =
                format!("expected is a JSON object; line {line}, column {column} is not of one");
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
        })?;
        let errors = Vec::new();
        Ok(Self { fields, errors })
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.refuse(name, "expected is a text"),
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
        self.errors.push(FieldError {
            pointer: format!("/{name}"),
            detail: detail.to_string(),
        });
    }

    /// All that was read, if nothing was wrong with any of it. A field that nobody knows is an error,
    /// too: it would be a wish that is not fulfilled.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        let unknown: Vec<_> = std::mem::take(&mut self.fields).into_iter().collect();
        for (name, _) in unknown {
            self.refuse(
                &name.replace('~', "~0").replace('/', "~1"),
                "there is no such field",
            );
        }
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(Problem::invalid(self.errors)),
        }
    }
}
