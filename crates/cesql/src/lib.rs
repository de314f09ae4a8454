//! [CloudEvents SQL 1.0](https://github.com/cloudevents/spec/blob/main/cesql/spec.md): expressions over
//! the attributes of an event, to filter events and to compute from them.
//!
//! # Contract
//!
//! - [`Expression::parse`] takes every text: the result is an expression, or a [`ParseError`] that says
//!   where and why.
//! - [`Expression::evaluate`] always returns a value, and an error beside it if something went wrong
//!   (specification 3.3). It stops at the first error, and the value is then the zero value of what the
//!   expression returns (4.1, fail fast), unless the specification names another.
//! - [`Expression::matches`] is for filters: an event passes if the value is the boolean `true` and
//!   there is no error (1.2).
//! - The same event gives the same result. An expression cannot change its event.
//! - Everything is bounded: the text of an expression by [`EXPRESSION_BYTES_MAX`], how deep it is
//!   nested by [`NESTING_MAX`], the text that an evaluation makes by [`TEXT_BYTES_MAX`]. `LIKE` takes
//!   time in proportion to the text, whatever the pattern.
//!
//! ```
//! use ensue_cesql::{ErrorKind, Expression, Value};
//!
//! let event = [
//!     ("type", Value::from("order.created")),
//!     ("subject", Value::from("o-17")),
//!     ("priority", Value::from(3)),
//! ];
//! let filter = Expression::parse("type LIKE 'order.%' AND priority >= 2")?;
//! assert!(filter.matches(&event));
//!
//! let evaluation = Expression::parse("priority * missing")?.evaluate(&event).into_owned();
//! assert_eq!(evaluation.value, Value::Integer(0));
//! assert_eq!(evaluation.error.unwrap().kind(), ErrorKind::MissingAttribute);
//! # Ok::<(), ensue_cesql::ParseError>(())
//! ```
//!
//! # Where the specification leaves a choice
//!
//! | question | answer |
//! | --- | --- |
//! | What is a character? | A Unicode code point: for `LENGTH`, `LEFT`, `RIGHT`, `SUBSTRING` and `_` of `LIKE`. |
//! | What do `+`, `-` and `*` return beyond 32 bits? | `0` and an error of kind `math`, as a division by zero does; so does `-2147483648 / -1`. |
//! | In which order go `AND`, `OR` and `XOR`? | They have one precedence and go from left to right (3.6): `TRUE OR TRUE AND FALSE` is `false`. |
//! | What does `NOT a = b` mean? | `(NOT a) = b`: unary operators come first (3.6). |
//! | What does a backslash in a string do? | It escapes the string's own quote, and in a pattern `%` and `_`. Any other backslash stands for itself. |
//! | Are `INT`, `BOOL`, `STRING`, `IS_INT` and `IS_BOOL` functions? | Yes. Version 1.0 uses `INT` in its examples, and describes none of them; they cast as 3.7 says. `IS_INT` and `IS_BOOL` look at the value as text: `IS_INT(TRUE)` is `false`. |
//! | What does `NOT 10` return? | `true` and an error of kind `cast`, as the official case "Invalid int cast" demands, although 3.7 casts integers to booleans. Everywhere else they are cast. |
//! | When is a function that does not exist an error? | When it is called: `TRUE OR NO_SUCH()` is `true`. |

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod limits;
mod value;

mod error;

mod attributes;
mod cast;
mod function;
mod like;

mod ast;
mod lexer;
mod parser;

mod evaluate;
mod expression;

pub use self::attributes::Attributes;
pub use self::error::{ErrorKind, EvaluationError, MathProblem, ParseError, ParseProblem};
pub use self::evaluate::Evaluation;
pub use self::expression::Expression;
pub use self::limits::{EXPRESSION_BYTES_MAX, NESTING_MAX, TEXT_BYTES_MAX};
pub use self::value::{Type, Value};
