//! What bounds an expression and its evaluation.

/// How long the text of an expression may be.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;

/// How deep an expression may be nested in parentheses, arguments, sets and unary operators.
pub const NESTING_MAX: usize = 32;

/// How much text the functions of one evaluation may make; what they leave as it is does not count.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
