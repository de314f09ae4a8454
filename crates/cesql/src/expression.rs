//! The face of the crate: parse once, evaluate for every event.

use std::fmt;
use std::str::FromStr;

use crate::ast::Node;
use crate::attributes::Attributes;
use crate::error::ParseError;
use crate::evaluate::{self, Evaluation};
use crate::parser;

/// An expression that was parsed.
///
/// It is written (`Display`) in one form, whatever its text was: keywords and functions in upper case,
/// attributes in lower case, no parentheses without need. Parsing that gives the same expression, unless
/// the blanks in it make it longer than an expression may be.
///
/// ```
/// # use ensue_cesql::Expression;
/// let expression = Expression::parse("((hop)<ttl) and not EXISTS Subject")?;
/// assert_eq!(expression.to_string(), "hop < ttl AND NOT EXISTS subject");
/// # Ok::<(), ensue_cesql::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    root: Node,
}

impl Expression {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// The text is not an expression, is longer than [`EXPRESSION_BYTES_MAX`](crate::EXPRESSION_BYTES_MAX)
    /// or nested deeper than [`NESTING_MAX`](crate::NESTING_MAX).
    ///
    /// ```
    /// # use ensue_cesql::Expression;
    /// let error = Expression::parse("subject LIKE 17").unwrap_err();
    /// assert_eq!(error.at(), 13);
    /// assert_eq!(
    ///     error.to_string(),
    ///     "unexpected `17`: expected a string, which is the pattern of `LIKE` (at byte 13)"
    /// );
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let root = parser::parse(text)?;
        Ok(Self { root })
    }

    /// What the expression says of an event: always a value, and an error if something went wrong.
    ///
    /// ```
    /// # use ensue_cesql::{Expression, Value};
    /// let event = [("sequence", Value::from("41"))];
    /// let expression = Expression::parse("sequence + 1")?;
    /// let evaluation = expression.evaluate(&event);
    /// assert_eq!((evaluation.value, evaluation.error), (Value::Integer(42), None));
    /// # Ok::<(), ensue_cesql::ParseError>(())
    /// ```
    pub fn evaluate<'a, A>(&'a self, attributes: &'a A) -> Evaluation<'a>
    where
        A: Attributes + ?Sized,
    {
        evaluate::evaluate(&self.root, attributes)
    }

    /// Whether an event passes the expression as a filter: the value is the boolean `true`.
    ///
    /// An event with which something goes wrong does not pass, and neither does one with which the
    /// value is no boolean (specification 1.2). So `flag != 'x'` lets no event pass that has no `flag`.
    ///
    /// ```
    /// # use ensue_cesql::{Expression, Value};
    /// let filter = Expression::parse("flag != 'x'")?;
    /// assert!(filter.matches(&[("flag", Value::from("y"))]));
    /// assert!(!filter.matches(&[]));
    /// # Ok::<(), ensue_cesql::ParseError>(())
    /// ```
    pub fn matches<A>(&self, attributes: &A) -> bool
    where
        A: Attributes + ?Sized,
    {
        self.evaluate(attributes).is_match()
    }
}

impl FromStr for Expression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}
