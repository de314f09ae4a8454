//! Whatever the text is: no panic, and what is parsed can be written and parsed again.

use std::collections::BTreeMap;

use ensue_cesql::{Expression, Value};
use proptest::prelude::*;

const TOKENS: &[&str] = &[
    "TRUE",
    "false",
    "0",
    "1",
    "-1",
    "+1",
    "2147483647",
    "-2147483648",
    "''",
    "'a'",
    "\"b\"",
    r"'\''",
    r#"'\"\\'"#,
    "'%_'",
    r"'\%'",
    "id",
    "hop",
    "missing",
    "x2",
    "AND",
    "OR",
    "XOR",
    "NOT",
    "LIKE",
    "IN",
    "EXISTS",
    "=",
    "!=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "(",
    ")",
    "(",
    ")",
    ",",
    "LENGTH(",
    "CONCAT(",
    "CONCAT_WS(",
    "LEFT(",
    "RIGHT(",
    "SUBSTRING(",
    "UPPER(",
    "TRIM(",
    "ABS(",
    "INT(",
    "BOOL(",
    "STRING(",
    "IS_INT(",
    "NO_SUCH(",
];

/// Expressions that are right, by the grammar.
fn expressions() -> impl Strategy<Value = String> {
    let literal = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        r"[a%_€😀 ]{0,6}".prop_map(|text| format!("'{text}'")),
        r#"([a%"]|\\[\\'"a%]){0,6}"#.prop_map(|text| format!("'{text}'")),
        r"([a%']|\\[\\'a%]){0,6}".prop_map(|text| format!("\"{text}\"")),
    ];
    let leaf = prop_oneof![
        3 => literal,
        1 => prop::sample::select(&["id", "hop", "missing", "EXISTS id", "EXISTS x"][..])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let operators = &[
            "AND", "OR", "XOR", "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%",
        ][..];
        let functions = &[
            "LENGTH",
            "CONCAT",
            "CONCAT_WS",
            "LOWER",
            "UPPER",
            "TRIM",
            "LEFT",
            "RIGHT",
            "SUBSTRING",
            "ABS",
            "INT",
            "BOOL",
            "STRING",
            "IS_INT",
            "IS_BOOL",
            "NO_SUCH",
        ][..];
        let list = prop::collection::vec(inner.clone(), 1..4).prop_map(|all| all.join(", "));
        prop_oneof![
            inner.clone().prop_map(|it| format!("({it})")),
            inner.clone().prop_map(|it| format!("NOT {it}")),
            inner.clone().prop_map(|it| format!("- {it}")),
            (
                inner.clone(),
                prop::sample::select(operators),
                inner.clone()
            )
                .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            (inner.clone(), any::<bool>(), r"[a%_]{0,4}").prop_map(|(left, not, pattern)| {
                format!("{left} {}LIKE '{pattern}'", if not { "NOT " } else { "" })
            }),
            (inner, any::<bool>(), list.clone()).prop_map(|(left, not, set)| {
                format!("{left} {}IN ({set})", if not { "NOT " } else { "" })
            }),
            (prop::sample::select(functions), list)
                .prop_map(|(name, list)| format!("{name}({list})")),
        ]
    })
}

fn survives(text: &str) -> Result<Option<Expression>, TestCaseError> {
    let Ok(expression) = Expression::parse(text) else {
        return Ok(None);
    };
    let event = BTreeMap::from([("id", Value::from("e-1")), ("hop", Value::from(5))]);
    let evaluation = expression.evaluate(&event);
    let written = expression.to_string();
    let again = Expression::parse(&written);
    let again = again.map_err(|error| TestCaseError::fail(format!("`{written}`: {error}")))?;
    prop_assert_eq!(&again, &expression, "{}", &written);
    prop_assert_eq!(again.evaluate(&event), evaluation);
    prop_assert_eq!(again.to_string(), written);
    Ok(Some(expression))
}

proptest! {
    #[test]
    fn a_soup_of_tokens_is_parsed_or_refused(
        tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..24),
        glue in prop::sample::select(&["", " "][..]),
    ) {
        survives(&tokens.join(glue))?;
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
        survives(&text)?;
    }

    #[test]
    fn what_the_grammar_makes_is_parsed_and_written(text in expressions()) {
        let expression = survives(&text)?;
        prop_assert!(expression.is_some(), "`{}` is refused", text);
    }

    #[test]
    fn a_damaged_expression_is_parsed_or_refused(
        text in expressions(),
        at in any::<prop::sample::Index>(),
        removed in 0_usize..4,
        added in r#"['"\\()%_ a0,=-]{0,3}"#,
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let end = (at + removed).min(chars.len());
        chars.splice(at..end, added.chars());
        survives(&chars.into_iter().collect::<String>())?;
    }
}
