//! What an expression is made of, and how it is written.
//!
//! Operators of one precedence that follow each other are one node, which is evaluated from left to
//! right: `1 + 2 - 3` is as deep as `1 + 2`. So an expression is as deep as its text is nested, and
//! walking through it is bounded by what bounds the parser.

use std::fmt::{self, Write as _};

use crate::function::{self, Function};
use crate::like::Pattern;
use crate::value::{Type, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Literal(Value<'static>),
    Attribute(String),
    Exists(String),
    Not(Box<Node>),
    Negate(Box<Node>),
    Call(Call),
    Chain(Chain),
}

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// In upper case.
    pub(crate) name: String,
    pub(crate) arguments: Vec<Node>,
    /// `None`: there is no such function.
    pub(crate) function: Option<&'static Function>,
}

/// An operand, and what follows it at one precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) precedence: Precedence,
    pub(crate) first: Box<Node>,
    pub(crate) steps: Vec<Step>,
}

/// An operator with what stands right of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Operate(Operator, Node),
    Like {
        is_negated: bool,
        pattern: Box<Pattern>,
    },
    In {
        is_negated: bool,
        set: Vec<Node>,
    },
}

/// How tightly binary operators bind, the loosest first (specification 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precedence {
    Logic,
    Comparison,
    Sum,
    Product,
    /// `LIKE` and `IN`.
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Logic(Logic),
    /// `=`, or `!=` if negated.
    Equal {
        is_negated: bool,
    },
    Order(Order),
    Arithmetic(Arithmetic),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
}

impl Node {
    /// The type of the result. What cannot be told is a boolean (specification 3.2 and 3.5).
    pub(crate) fn returns(&self) -> Type {
        match self {
            Self::Literal(value) => value.type_of(),
            Self::Negate(_) => Type::Integer,
            Self::Attribute(_) | Self::Exists(_) | Self::Not(_) => Type::Boolean,
            Self::Call(call) => call.function.map_or(Type::Boolean, Function::returns),
            Self::Chain(chain) => chain.precedence.returns(),
        }
    }
}

impl Call {
    pub(crate) fn new(name: &str, arguments: Vec<Node>) -> Self {
        let name = name.to_ascii_uppercase();
        let function = function::find(&name, arguments.len());
        Self {
            name,
            arguments,
            function,
        }
    }
}

impl Precedence {
    pub(crate) const TIGHTEST_FIRST: [Self; 5] = [
        Self::Test,
        Self::Product,
        Self::Sum,
        Self::Comparison,
        Self::Logic,
    ];

    /// The next one, or `None` if this is the tightest.
    pub(crate) fn tighter(self) -> Option<Self> {
        match self {
            Self::Logic => Some(Self::Comparison),
            Self::Comparison => Some(Self::Sum),
            Self::Sum => Some(Self::Product),
            Self::Product => Some(Self::Test),
            Self::Test => None,
        }
    }

    fn returns(self) -> Type {
        match self {
            Self::Logic | Self::Comparison | Self::Test => Type::Boolean,
            Self::Sum | Self::Product => Type::Integer,
        }
    }
}

impl Operator {
    pub(crate) fn precedence(self) -> Precedence {
        match self {
            Self::Logic(_) => Precedence::Logic,
            Self::Equal { .. } | Self::Order(_) => Precedence::Comparison,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Subtract) => Precedence::Sum,
            Self::Arithmetic(_) => Precedence::Product,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Logic(Logic::And) => "AND",
            Self::Logic(Logic::Or) => "OR",
            Self::Logic(Logic::Xor) => "XOR",
            Self::Equal { is_negated: false } => "=",
            Self::Equal { is_negated: true } => "!=",
            Self::Order(Order::Less) => "<",
            Self::Order(Order::LessOrEqual) => "<=",
            Self::Order(Order::Greater) => ">",
            Self::Order(Order::GreaterOrEqual) => ">=",
            Self::Arithmetic(arithmetic) => arithmetic.as_str(),
        }
    }
}

impl Arithmetic {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Add => "+",
            Self::Subtract => "-",
        }
    }
}

/// As the language writes it, with no more parentheses than are needed. Parsing it gives the same
/// node.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(Value::Text(text)) => write_quoted(f, text),
            Self::Literal(Value::Boolean(true)) => f.write_str("TRUE"),
            Self::Literal(Value::Boolean(false)) => f.write_str("FALSE"),
            Self::Literal(Value::Integer(number)) => write!(f, "{number}"),
            Self::Attribute(name) => f.write_str(name),
            Self::Exists(name) => write!(f, "EXISTS {name}"),
            Self::Not(operand) => write!(f, "NOT {}", Operand(operand)),
            // `-5` would be a literal, and `-(5)` a level deeper than what was parsed.
            Self::Negate(operand) if operand.is_unsigned() => write!(f, "- {operand}"),
            Self::Negate(operand) => write!(f, "-{}", Operand(operand)),
            Self::Call(call) => {
                f.write_str(&call.name)?;
                write_list(f, &call.arguments)
            }
            Self::Chain(chain) => chain.fmt(f),
        }
    }
}

impl Node {
    fn is_unsigned(&self) -> bool {
        matches!(self, Self::Literal(Value::Integer(0..)))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = |node| OperandOf(self.precedence, node);
        operand(&self.first).fmt(f)?;
        for step in &self.steps {
            match step {
                Step::Operate(operator, right) => {
                    write!(f, " {} {}", operator.as_str(), operand(right))?;
                }
                Step::Like {
                    is_negated,
                    pattern,
                } => {
                    write!(f, "{} LIKE ", negation(*is_negated))?;
                    write_quoted(f, pattern.source())?;
                }
                Step::In { is_negated, set } => {
                    write!(f, "{} IN ", negation(*is_negated))?;
                    write_list(f, set)?;
                }
            }
        }
        Ok(())
    }
}

fn negation(is_negated: bool) -> &'static str {
    if is_negated { " NOT" } else { "" }
}

/// An operand of a unary operator.
struct Operand<'a>(&'a Node);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Node::Chain(chain) => write!(f, "({chain})"),
            other => other.fmt(f),
        }
    }
}

/// An operand of a chain of this precedence.
struct OperandOf<'a>(Precedence, &'a Node);

impl fmt::Display for OperandOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Node::Chain(chain) if chain.precedence <= self.0 => write!(f, "({chain})"),
            other => other.fmt(f),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, nodes: &[Node]) -> fmt::Result {
    f.write_char('(')?;
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{node}")?;
    }
    f.write_char(')')
}

/// A string in the quotes in which it can be written: every string that was parsed can be, in those
/// that it had.
fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if can_be_quoted(text, '\'') { '\'' } else { '"' };
    f.write_char(quote)?;
    for c in text.chars() {
        if c == quote {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char(quote)
}

/// Whether no backslash of the text would take the quote, or the backslash before it, for its own.
fn can_be_quoted(text: &str, quote: char) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next().is_none_or(|next| next == quote) {
            return false;
        }
    }
    true
}
