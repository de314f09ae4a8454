//! What can go wrong (specification 3.3).

use std::fmt;

use crate::limits::{EXPRESSION_BYTES_MAX, NESTING_MAX, TEXT_BYTES_MAX};
use crate::value::{Type, Value};

/// How much of a text an error quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// The kinds of error that the specification names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The text is not an expression.
    Parse,
    /// An operation on numbers has no result.
    Math,
    /// A value cannot be cast.
    Cast,
    /// The event does not have the attribute.
    MissingAttribute,
    /// There is no such function, or not with so many arguments.
    MissingFunction,
    /// A function does not take these arguments.
    FunctionEvaluation,
    /// Any other.
    Generic,
}

impl ErrorKind {
    /// The name of the kind in the official conformance cases, such as `missingAttribute`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Math => "math",
            Self::Cast => "cast",
            Self::MissingAttribute => "missingAttribute",
            Self::MissingFunction => "missingFunction",
            Self::FunctionEvaluation => "functionEvaluation",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at byte {at})")]
pub struct ParseError {
    at: usize,
    problem: ParseProblem,
}

impl ParseError {
    pub(crate) fn new(at: usize, problem: ParseProblem) -> Self {
        Self { at, problem }
    }

    /// The byte of the text at which the problem was found.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What the problem is.
    pub fn problem(&self) -> &ParseProblem {
        &self.problem
    }

    /// [`ErrorKind::Parse`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Parse
    }
}

/// What is wrong with the text of an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProblem {
    /// Something else should be here.
    #[error("unexpected {found}: expected {expected}")]
    Unexpected {
        /// What is here.
        found: String,
        /// What should be here.
        expected: &'static str,
    },
    /// A string does not end.
    #[error("the string that begins here has no closing quote")]
    UnclosedString,
    /// An integer has more than 32 bits.
    #[error("`{0}` is out of range: integers are from -2147483648 to 2147483647")]
    IntegerOutOfRange(String),
    /// An attribute cannot have this name.
    #[error("`{0}` is not an attribute's name: expected letters and digits")]
    AttributeName(String),
    /// A function cannot have this name.
    #[error("`{0}` is not a function's name: expected letters and underscores, a letter first")]
    FunctionName(String),
    /// The text is longer than [`EXPRESSION_BYTES_MAX`].
    #[error("the expression has {0} bytes: the limit is {EXPRESSION_BYTES_MAX}")]
    TooLong(usize),
    /// The expression is nested deeper than [`NESTING_MAX`].
    #[error("the expression is nested deeper than {NESTING_MAX} levels")]
    TooDeep,
}

/// Why an evaluation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// An operation on numbers has no result of 32 bits.
    #[error("`{operation}` has no result: {reason}")]
    Math {
        /// The operation with its operands.
        operation: String,
        /// Why.
        reason: MathProblem,
    },
    /// A value cannot be cast.
    #[error("`{value}` cannot be cast to {to}")]
    Cast {
        /// The value, shortened.
        value: String,
        /// What it should be.
        to: Type,
    },
    /// The event does not have the attribute.
    #[error("the event has no attribute `{0}`")]
    MissingAttribute(String),
    /// There is no such function, or not with so many arguments.
    #[error("there is no function `{name}` that takes {arguments} arguments")]
    MissingFunction {
        /// Its name.
        name: String,
        /// How many arguments it was called with.
        arguments: usize,
    },
    /// A function does not take these arguments.
    #[error("`{function}` does not take {argument} as its {parameter}")]
    FunctionEvaluation {
        /// The function.
        function: &'static str,
        /// Which of its parameters.
        parameter: &'static str,
        /// What it was given.
        argument: i32,
    },
    /// The functions of the expression would make more text than [`TEXT_BYTES_MAX`].
    #[error("the evaluation makes more than {TEXT_BYTES_MAX} bytes of text")]
    TooMuchText,
}

/// Why an operation on numbers has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MathProblem {
    /// The divisor is zero.
    #[error("a division by zero")]
    DivisionByZero,
    /// The result has more than 32 bits.
    #[error("it is beyond 32 bits")]
    Overflow,
}

impl EvaluationError {
    /// Which of the specification's kinds this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Math { .. } => ErrorKind::Math,
            Self::Cast { .. } => ErrorKind::Cast,
            Self::MissingAttribute(_) => ErrorKind::MissingAttribute,
            Self::MissingFunction { .. } => ErrorKind::MissingFunction,
            Self::FunctionEvaluation { .. } => ErrorKind::FunctionEvaluation,
            Self::TooMuchText => ErrorKind::Generic,
        }
    }

    pub(crate) fn cast(value: &Value<'_>, to: Type) -> Self {
        let value = match value {
            Value::Text(text) => shortened(text),
            Value::Integer(_) | Value::Boolean(_) => value.to_string(),
        };
        Self::Cast { value, to }
    }
}

/// Why there is no ordinary value, and which one there is instead.
#[derive(Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) error: EvaluationError,
    /// `None`: the zero value of what failed.
    pub(crate) value: Option<Value<'a>>,
}

impl From<EvaluationError> for Failure<'_> {
    fn from(error: EvaluationError) -> Self {
        Self { error, value: None }
    }
}

/// The beginning of a text, to be quoted.
pub(crate) fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut begin: String = chars.by_ref().take(QUOTED_CHARS_MAX).collect();
    if chars.next().is_some() {
        begin.push('…');
    }
    begin
}
