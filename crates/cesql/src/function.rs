//! The built-in functions (specification 3.5).
//!
//! A function takes its arguments one by one, as what it needs; taking one casts it.

use std::borrow::Cow;
use std::vec;

use crate::cast;
use crate::error::{EvaluationError, Failure, MathProblem};
use crate::limits::TEXT_BYTES_MAX;
use crate::value::{Type, Value};

/// A function of the language.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    name: &'static str,
    arity: Arity,
    returns: Type,
    run: Run,
}

#[derive(Debug, PartialEq, Eq)]
enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

/// What a function does. Its arguments are as many as its arity says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    Abs,
    Cast(Type),
    /// Whether the value, written as text, can be cast.
    IsLike(Type),
}

#[rustfmt::skip] // one line each
const FUNCTIONS: &[Function] = {
    use Arity::{AtLeast, Exactly};
    const fn function(name: &'static str, arity: Arity, returns: Type, run: Run) -> Function {
        Function { name, arity, returns, run }
    }
    &[
        function("LENGTH", Exactly(1), Type::Integer, Run::Length),
        function("CONCAT", AtLeast(0), Type::Text, Run::Concat),
        function("CONCAT_WS", AtLeast(1), Type::Text, Run::ConcatWs),
        function("LOWER", Exactly(1), Type::Text, Run::Lower),
        function("UPPER", Exactly(1), Type::Text, Run::Upper),
        function("TRIM", Exactly(1), Type::Text, Run::Trim),
        function("LEFT", Exactly(2), Type::Text, Run::Left),
        function("RIGHT", Exactly(2), Type::Text, Run::Right),
        function("SUBSTRING", Exactly(2), Type::Text, Run::Substring),
        function("SUBSTRING", Exactly(3), Type::Text, Run::Substring),
        function("ABS", Exactly(1), Type::Integer, Run::Abs),
        function("INT", Exactly(1), Type::Integer, Run::Cast(Type::Integer)),
        function("BOOL", Exactly(1), Type::Boolean, Run::Cast(Type::Boolean)),
        function("STRING", Exactly(1), Type::Text, Run::Cast(Type::Text)),
        function("IS_INT", Exactly(1), Type::Boolean, Run::IsLike(Type::Integer)),
        function("IS_BOOL", Exactly(1), Type::Boolean, Run::IsLike(Type::Boolean)),
    ]
};

/// The function of this name, in upper case, that takes so many arguments.
pub(crate) fn find(name: &str, arguments: usize) -> Option<&'static Function> {
    let takes = |function: &Function| match function.arity {
        Arity::Exactly(arity) => arguments == arity,
        Arity::AtLeast(arity) => arguments >= arity,
    };
    let mut functions = FUNCTIONS.iter();
    functions.find(|function| function.name == name && takes(function))
}

/// How much text may still be made.
#[derive(Debug)]
pub(crate) struct TextBudget {
    bytes: usize,
}

impl TextBudget {
    pub(crate) fn new() -> Self {
        Self {
            bytes: TEXT_BYTES_MAX,
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or(EvaluationError::TooMuchText)?;
        Ok(())
    }
}

/// The arguments that are not taken yet.
#[derive(Debug)]
struct Arguments<'a>(vec::IntoIter<Value<'a>>);

impl<'a> Arguments<'a> {
    fn value(&mut self) -> Value<'a> {
        // Absent only if `FUNCTIONS` and `Run` disagree.
        self.0.next().unwrap_or(Type::Text.zero())
    }

    fn text(&mut self) -> Cow<'a, str> {
        cast::to_text(self.value())
    }

    fn integer(&mut self) -> Result<i32, EvaluationError> {
        cast::to_integer(&self.value())
    }
}

impl Function {
    pub(crate) fn returns(&self) -> Type {
        self.returns
    }

    /// Calls the function. An error comes with a value where the specification names one.
    pub(crate) fn call<'a>(
        &self,
        arguments: Vec<Value<'a>>,
        budget: &mut TextBudget,
    ) -> Result<Value<'a>, Failure<'a>> {
        let mut arguments = Arguments(arguments.into_iter());
        match self.run {
            Run::Length => Ok(length(&arguments.text())),
            Run::Concat => Ok(concat("", arguments, budget)?),
            Run::ConcatWs => {
                let delimiter = arguments.text();
                Ok(concat(&delimiter, arguments, budget)?)
            }
            Run::Lower => {
                let text = arguments.text();
                budget.spend(text.len())?;
                Ok(text.to_lowercase().into())
            }
            Run::Upper => {
                let text = arguments.text();
                budget.spend(text.len())?;
                Ok(text.to_uppercase().into())
            }
            Run::Trim => Ok(part_of(arguments.text(), str::trim)),
            Run::Left | Run::Right => self.side(arguments.text(), arguments.integer()?),
            Run::Substring => self.substring(arguments),
            Run::Abs => absolute(arguments.integer()?),
            Run::Cast(target) => Ok(cast::to(target, arguments.value())?),
            Run::IsLike(target) => {
                let text = Value::Text(arguments.text());
                Ok(cast::to(target, text).is_ok().into())
            }
        }
    }

    /// The first or the last characters of a text. A negative count is an error, and the value is
    /// then the whole text.
    fn side<'a>(&self, text: Cow<'a, str>, count: i32) -> Result<Value<'a>, Failure<'a>> {
        let Ok(count) = usize::try_from(count) else {
            return Err(Failure {
                error: self.refusal("number of characters", count),
                value: Some(text.into()),
            });
        };
        let is_left = self.run == Run::Left;
        Ok(part_of(text, |text| {
            if is_left {
                split_at(text, count).0
            } else {
                split_at_end(text, count).1
            }
        }))
    }

    /// The characters from a position, which counts from 1, or from the end if it is negative; all of
    /// them, or as many as the third argument says.
    fn substring<'a>(&self, mut arguments: Arguments<'a>) -> Result<Value<'a>, Failure<'a>> {
        let text = arguments.text();
        let position = arguments.integer()?;
        let count = match arguments.0.len() {
            0 => None,
            _ => Some(arguments.integer()?),
        };
        let distance = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
        if distance > text.chars().count() {
            return Err(self.refusal("position", position).into());
        }
        let count = match count.map(|count| usize::try_from(count).map_err(|_| count)) {
            Some(Err(count)) => return Err(self.refusal("length", count).into()),
            Some(Ok(count)) => count,
            None => usize::MAX,
        };
        Ok(part_of(text, |text| {
            let rest = match position {
                0 => "",
                1.. => split_at(text, distance - 1).1,
                _ => split_at_end(text, distance).1,
            };
            split_at(rest, count).0
        }))
    }

    fn refusal(&self, parameter: &'static str, argument: i32) -> EvaluationError {
        EvaluationError::FunctionEvaluation {
            function: self.name,
            parameter,
            argument,
        }
    }
}

/// In code points; as many as fit into an integer.
fn length(text: &str) -> Value<'static> {
    let count = text.chars().count();
    Value::Integer(i32::try_from(count).unwrap_or(i32::MAX))
}

fn absolute(number: i32) -> Result<Value<'static>, Failure<'static>> {
    match number.checked_abs() {
        Some(absolute) => Ok(absolute.into()),
        None => Err(Failure {
            error: EvaluationError::Math {
                operation: format!("ABS({number})"),
                reason: MathProblem::Overflow,
            },
            value: Some(Value::Integer(i32::MAX)),
        }),
    }
}

fn concat(
    delimiter: &str,
    arguments: Arguments<'_>,
    budget: &mut TextBudget,
) -> Result<Value<'static>, EvaluationError> {
    let texts: Vec<_> = arguments.0.map(cast::to_text).collect();
    let delimiters = delimiter
        .len()
        .saturating_mul(texts.len().saturating_sub(1));
    let bytes = texts.iter().map(|text| text.len());
    budget.spend(bytes.fold(delimiters, usize::saturating_add))?;
    Ok(texts.join(delimiter).into())
}

/// A part of a text, without a copy of it.
fn part_of<'a>(text: Cow<'a, str>, part: impl Fn(&str) -> &str) -> Value<'a> {
    match text {
        Cow::Borrowed(text) => Value::Text(Cow::Borrowed(part(text))),
        Cow::Owned(text) => part(&text).to_owned().into(),
    }
}

/// The text before and after its first `count` characters.
fn split_at(text: &str, count: usize) -> (&str, &str) {
    let at = text.char_indices().nth(count).map(|(at, _)| at);
    text.split_at_checked(at.unwrap_or(text.len()))
        .unwrap_or((text, ""))
}

/// The text before and after the beginning of its last `count` characters.
fn split_at_end(text: &str, count: usize) -> (&str, &str) {
    let all = text.chars().count();
    split_at(text, all.saturating_sub(count))
}
