//! An expression and an event to a value (specification 3.2 to 3.7).
//!
//! The first error ends the evaluation (4.1, fail fast). An operator whose operand failed returns the
//! zero value of its type, so the value beside an error is the zero value of what the whole expression
//! returns, unless the operation that failed is the outermost and has a value of its own.

use crate::ast::{Arithmetic, Call, Chain, Logic, Node, Operator, Order, Step};
use crate::attributes::Attributes;
use crate::cast;
use crate::error::{EvaluationError, Failure, MathProblem};
use crate::function::TextBudget;
use crate::value::{Type, Value};

/// What every event has (3.4.4).
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// What an expression says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'a> {
    /// The value, also beside an error.
    pub value: Value<'a>,
    /// What went wrong first, if anything did.
    pub error: Option<EvaluationError>,
}

impl Evaluation<'_> {
    /// Whether an event passes a filter: the value is the boolean `true`, and nothing went wrong.
    pub fn is_match(&self) -> bool {
        self.error.is_none() && self.value == Value::Boolean(true)
    }

    /// The same evaluation, which needs neither the expression nor the event any more.
    pub fn into_owned(self) -> Evaluation<'static> {
        Evaluation {
            value: self.value.into_owned(),
            error: self.error,
        }
    }
}

pub(crate) fn evaluate<'a, A>(node: &'a Node, attributes: &'a A) -> Evaluation<'a>
where
    A: Attributes + ?Sized,
{
    let mut evaluator = Evaluator {
        attributes,
        budget: TextBudget::new(),
    };
    match evaluator.value(node) {
        Ok(value) => Evaluation { value, error: None },
        Err(failure) => Evaluation {
            value: failure.value.unwrap_or(node.returns().zero()),
            error: Some(failure.error),
        },
    }
}

struct Evaluator<'a, A: ?Sized> {
    attributes: &'a A,
    budget: TextBudget,
}

impl<'a, A: Attributes + ?Sized> Evaluator<'a, A> {
    fn value(&mut self, node: &'a Node) -> Result<Value<'a>, Failure<'a>> {
        match node {
            Node::Literal(value) => Ok(value.borrowed()),
            Node::Attribute(name) => {
                let value = self.attributes.attribute(name);
                Ok(value.ok_or_else(|| EvaluationError::MissingAttribute(name.clone()))?)
            }
            Node::Exists(name) => {
                let is_there = || self.attributes.attribute(name).is_some();
                Ok(Value::Boolean(
                    REQUIRED.contains(&name.as_str()) || is_there(),
                ))
            }
            Node::Not(operand) => not(&self.operand(operand)?),
            Node::Negate(operand) => {
                let number = cast::to_integer(&self.operand(operand)?)?;
                let negative = number.checked_neg();
                Ok(or_overflow(negative, || format!("-({number})"))?)
            }
            Node::Call(call) => self.call(call),
            Node::Chain(chain) => Ok(self.chain(chain)?),
        }
    }

    /// The value of an operand. What it returns beside an error does not matter to its operator.
    fn operand(&mut self, node: &'a Node) -> Result<Value<'a>, EvaluationError> {
        self.value(node).map_err(|failure| failure.error)
    }

    fn call(&mut self, call: &'a Call) -> Result<Value<'a>, Failure<'a>> {
        let Some(function) = call.function else {
            return Err(Failure::from(EvaluationError::MissingFunction {
                name: call.name.clone(),
                arguments: call.arguments.len(),
            }));
        };
        let arguments = call.arguments.iter().map(|argument| self.operand(argument));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        function.call(arguments, &mut self.budget)
    }

    fn chain(&mut self, chain: &'a Chain) -> Result<Value<'a>, EvaluationError> {
        let first = self.operand(&chain.first)?;
        let mut steps = chain.steps.iter();
        steps.try_fold(first, |left, step| self.step(left, step))
    }

    fn step(&mut self, left: Value<'a>, step: &'a Step) -> Result<Value<'a>, EvaluationError> {
        match step {
            Step::Operate(Operator::Logic(logic), right) => self.logic(&left, *logic, right),
            Step::Operate(Operator::Equal { is_negated }, right) => {
                let right = self.operand(right)?;
                // The right operand's type says which `=` it is.
                let left = cast::to(right.type_of(), left)?;
                Ok(Value::Boolean((left == right) != *is_negated))
            }
            Step::Operate(Operator::Order(order), right) => {
                let right = self.operand(right)?;
                let (left, right) = (cast::to_integer(&left)?, cast::to_integer(&right)?);
                Ok(Value::Boolean(match order {
                    Order::Less => left < right,
                    Order::LessOrEqual => left <= right,
                    Order::Greater => left > right,
                    Order::GreaterOrEqual => left >= right,
                }))
            }
            Step::Operate(Operator::Arithmetic(arithmetic), right) => {
                let right = self.operand(right)?;
                calculate(
                    cast::to_integer(&left)?,
                    *arithmetic,
                    cast::to_integer(&right)?,
                )
            }
            Step::Like {
                is_negated,
                pattern,
            } => {
                let text = cast::to_text(left);
                Ok(Value::Boolean(pattern.matches(&text) != *is_negated))
            }
            Step::In { is_negated, set } => {
                Ok(Value::Boolean(self.is_in(&left, set)? != *is_negated))
            }
        }
    }

    /// `AND` and `OR` do not evaluate what cannot change the result.
    fn logic(
        &mut self,
        left: &Value<'a>,
        logic: Logic,
        right: &'a Node,
    ) -> Result<Value<'a>, EvaluationError> {
        let left = cast::to_boolean(left)?;
        let mut right = || cast::to_boolean(&self.operand(right)?);
        Ok(Value::Boolean(match logic {
            Logic::And => left && right()?,
            Logic::Or => left || right()?,
            Logic::Xor => left != right()?,
        }))
    }

    /// Whether an element is equal, cast to the type of `value`; those after it are not evaluated.
    fn is_in(&mut self, value: &Value<'a>, set: &'a [Node]) -> Result<bool, EvaluationError> {
        for element in set {
            let element = self.operand(element)?;
            if cast::to(value.type_of(), element)? == *value {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The negation of a boolean.
///
/// An integer is not cast here, although 3.7 says that it can be: the official case "Invalid int cast"
/// expects of `NOT 10` an error, and the negation of what a failed cast returns. A filter that is in
/// doubt lets nothing pass.
fn not(operand: &Value<'_>) -> Result<Value<'static>, Failure<'static>> {
    let truth = match operand {
        Value::Integer(_) => Err(EvaluationError::cast(operand, Type::Boolean)),
        Value::Text(_) | Value::Boolean(_) => cast::to_boolean(operand),
    };
    match truth {
        Ok(truth) => Ok(Value::Boolean(!truth)),
        Err(error) => Err(Failure {
            error,
            value: Some(Value::Boolean(true)),
        }),
    }
}

fn calculate(
    left: i32,
    arithmetic: Arithmetic,
    right: i32,
) -> Result<Value<'static>, EvaluationError> {
    let operation = || format!("{left} {} {right}", arithmetic.as_str());
    let result = match arithmetic {
        Arithmetic::Divide | Arithmetic::Remainder if right == 0 => {
            return Err(EvaluationError::Math {
                operation: operation(),
                reason: MathProblem::DivisionByZero,
            });
        }
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        // Of -2147483648 and -1 it is 0, unlike their quotient in range.
        Arithmetic::Remainder => Some(left.wrapping_rem(right)),
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
    };
    or_overflow(result, operation)
}

fn or_overflow(
    result: Option<i32>,
    operation: impl FnOnce() -> String,
) -> Result<Value<'static>, EvaluationError> {
    let overflow = || EvaluationError::Math {
        operation: operation(),
        reason: MathProblem::Overflow,
    };
    Ok(Value::Integer(result.ok_or_else(overflow)?))
}
