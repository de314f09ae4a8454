//! Filters in CloudEvents SQL, over the attributes of an event.

use std::sync::Arc;

use ensue::Envelope;
use ensue_cesql::{Expression, Value};
use schemars::JsonSchema;
use serde::Serialize;

use crate::attributes::OfEvent;
use crate::problem::{Code, Problem};

/// A filter, and what went wrong with events so far.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    expression: Arc<Expression>,
    errors: Errors,
}

/// Events with which a filter could not be evaluated: they do not pass.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "FilterErrors")]
pub(crate) struct Errors {
    pub(crate) count: u64,
    /// What went wrong with the first of them.
    pub(crate) first: Option<String>,
}

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        match Expression::parse(text) {
            Ok(expression) => Ok(Self {
                expression: Arc::new(expression),
                errors: Errors::default(),
            }),
            Err(error) => {
                let detail = format!("the filter is not an expression of CloudEvents SQL: {error}");
                Err(Problem::new(Code::InvalidFilter, detail).with("at", error.at().into()))
            }
        }
    }

    /// Whether an event passes.
    pub(crate) fn passes(&mut self, event: &Envelope) -> bool {
        let event = OfEvent(event);
        let evaluation = self.expression.evaluate(&event);
        if let Some(error) = evaluation.error {
            self.errors.count += 1;
            self.errors.first.get_or_insert_with(|| error.to_string());
            return false;
        }
        evaluation.value == Value::Boolean(true)
    }

    pub(crate) fn errors(&self) -> &Errors {
        &self.errors
    }
}
