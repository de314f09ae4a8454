//! Type casting (specification 3.7).

use std::borrow::Cow;

use crate::error::EvaluationError;
use crate::value::{Type, Value};

/// Integers in base 10, booleans in lower case.
pub(crate) fn to_text(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Text(text) => text,
        Value::Integer(number) => Cow::Owned(number.to_string()),
        Value::Boolean(true) => Cow::Borrowed("true"),
        Value::Boolean(false) => Cow::Borrowed("false"),
    }
}

/// Text in base 10 with an optional sign; `true` is 1.
pub(crate) fn to_integer(value: &Value<'_>) -> Result<i32, EvaluationError> {
    match value {
        Value::Text(text) => {
            let number = text.parse();
            number.map_err(|_| EvaluationError::cast(value, Type::Integer))
        }
        Value::Integer(number) => Ok(*number),
        Value::Boolean(truth) => Ok(i32::from(*truth)),
    }
}

/// Text that says "true" or "false" in whatever case; integers that are not 0 are true.
pub(crate) fn to_boolean(value: &Value<'_>) -> Result<bool, EvaluationError> {
    match value {
        Value::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Value::Text(_) => Err(EvaluationError::cast(value, Type::Boolean)),
        Value::Integer(number) => Ok(*number != 0),
        Value::Boolean(truth) => Ok(*truth),
    }
}

/// The value as one of this type.
pub(crate) fn to(target: Type, value: Value<'_>) -> Result<Value<'_>, EvaluationError> {
    match target {
        Type::Text => Ok(Value::Text(to_text(value))),
        Type::Integer => to_integer(&value).map(Value::Integer),
        Type::Boolean => to_boolean(&value).map(Value::Boolean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_an_integer_only_if_it_is_one_of_32_bits_in_base_10() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("+7", 7),
            ("007", 7),
            ("-2147483648", i32::MIN),
            ("2147483647", i32::MAX),
        ] {
            assert_eq!(to_integer(&text.into()), Ok(number), "{text}");
        }
        for text in [
            "",
            "+",
            "-",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x1",
            "--1",
            "+-1",
            "abc",
            "٣",
            "2147483648",
            "-2147483649",
        ] {
            let cast = to_integer(&text.into());
            assert_eq!(
                cast,
                Err(EvaluationError::cast(&text.into(), Type::Integer))
            );
        }
    }

    #[test]
    fn text_is_a_boolean_in_any_case_and_with_nothing_around_it() {
        for (text, truth) in [("true", true), ("TrUe", true), ("FALSE", false)] {
            assert_eq!(to_boolean(&text.into()), Ok(truth), "{text}");
        }
        for text in ["", " true", "true ", "yes", "1", "0", "t"] {
            let cast = to_boolean(&text.into());
            assert_eq!(
                cast,
                Err(EvaluationError::cast(&text.into(), Type::Boolean))
            );
        }
    }

    #[test]
    fn every_cast_of_integers_and_booleans_succeeds() {
        for (value, text, number, truth) in [
            (Value::Integer(0), "0", 0, false),
            (Value::Integer(-12), "-12", -12, true),
            (Value::Integer(i32::MIN), "-2147483648", i32::MIN, true),
            (Value::Boolean(true), "true", 1, true),
            (Value::Boolean(false), "false", 0, false),
        ] {
            assert_eq!(to(Type::Text, value.clone()), Ok(text.into()));
            assert_eq!(to(Type::Integer, value.clone()), Ok(number.into()));
            assert_eq!(to(Type::Boolean, value), Ok(truth.into()));
        }
    }
}
