//! Whether what the server answers is what its document of OpenAPI says. Every client of these tests looks at every
//! answer with it.

use std::sync::LazyLock;

use hyper::Method;
use serde_json::{Map, Value};

use crate::client::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(ensue_server::openapi()).unwrap());

/// Keywords that say nothing about which values there are, or no more than is worth a regular expression here.
const NOT_CHECKED: &[&str] = &[
    "contentEncoding",
    "default",
    "description",
    "examples",
    "format",
    "pattern",
    "propertyNames",
    "title",
];

/// Fails unless the document has this answer to a request, if it has the request.
pub(crate) fn look_at(method: &Method, path: &str, answer: &Answer) {
    let Some((template, operations)) = operations(path) else {
        return;
    };
    let Some(operation) = operations.get(&method.as_str().to_ascii_lowercase()) else {
        let is_refused = answer.status.is_client_error() || *method == Method::HEAD;
        assert!(
            is_refused,
            "{method} {template} is answered, and not in the document"
        );
        return;
    };
    let said = format!("{method} {template}: {answer:?}");
    let described = &operation["responses"][answer.status.as_str()];
    assert!(
        described.is_object(),
        "the document lacks the status of {said}"
    );
    let Some(content) = described.get("content") else {
        assert!(
            answer.body.is_empty(),
            "the document has no body for {said}"
        );
        return;
    };
    let mut types = answer.headers.get_all("content-type").iter();
    let media = types.next().unwrap().to_str().unwrap();
    assert_eq!(types.next(), None, "two media types in {said}");
    let media = media.split(';').next().unwrap();
    let content = &content[media];
    assert!(
        content.is_object(),
        "the document lacks the media type of {said}"
    );
    match media {
        "application/x-ndjson" => {
            for line in answer.text().lines() {
                must_be("RecordedEvent", &serde_json::from_str(line).unwrap());
            }
        }
        media if media.ends_with("json") => {
            let problem = check(&content["schema"], &answer.json(), true);
            assert_eq!(problem, Ok(()), "{said}");
        }
        _ => {}
    }
}

/// Fails unless a value is what the document says of this name.
pub(crate) fn must_be(name: &str, value: &Value) {
    let schema = &DOCUMENT["components"]["schemas"][name];
    assert!(schema.is_object(), "the document has no schema `{name}`");
    assert_eq!(check(schema, value, true), Ok(()), "{name}: {value}");
}

/// The path of the document that a request's path is, and what it has.
fn operations(path: &str) -> Option<(&'static str, &'static Map<String, Value>)> {
    let path = path.split('?').next().unwrap();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fits = |template: &str| {
        let (mut wanted, mut parts) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                (Some(want), Some(part)) if want == part || want.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    // One that spells a part goes before one that names it.
    let best = fitting.min_by_key(|(template, _)| template.matches('{').count());
    best.map(|(template, operations)| (template.as_str(), operations.as_object().unwrap()))
}

/// Why a value is not what a schema says. `is_closed`: members that are not named are undocumented ones.
fn check(schema: &Value, value: &Value, is_closed: bool) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        assert_eq!(schema, &Value::Bool(true), "a schema of its own kind");
        return Ok(());
    };
    let is_closed = is_closed && !keywords.contains_key("allOf");
    for (keyword, said) in keywords {
        let fits = |schema: &Value| check(schema, value, is_closed);
        let list = || said.as_array().unwrap().iter();
        let is_so = match keyword.as_str() {
            "$ref" => {
                let pointer = said.as_str().unwrap().strip_prefix('#').unwrap();
                let schema = DOCUMENT.pointer(pointer);
                fits(schema.unwrap_or_else(|| panic!("nothing is at {said}")))?;
                true
            }
            "allOf" => {
                list().try_for_each(fits)?;
                true
            }
            "anyOf" => list().any(|schema| fits(schema).is_ok()),
            "oneOf" => list().filter(|schema| fits(schema).is_ok()).count() == 1,
            "const" => value == said,
            "enum" => list().any(|one| one == value),
            "type" => is_of_type(said, value),
            "minimum" => number(value).is_none_or(|it| it >= number(said).unwrap()),
            "maximum" => number(value).is_none_or(|it| it <= number(said).unwrap()),
            "minLength" => length(value).is_none_or(|it| it >= said.as_u64().unwrap()),
            "maxLength" => length(value).is_none_or(|it| it <= said.as_u64().unwrap()),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items
                    .into_iter()
                    .try_for_each(|item| check(said, item, is_closed))?;
                true
            }
            "required" => value
                .as_object()
                .is_none_or(|it| list().all(|name| it.contains_key(name.as_str().unwrap()))),
            "properties" => {
                members(keywords, value, is_closed)?;
                true
            }
            "additionalProperties" if keywords.contains_key("properties") => true,
            "additionalProperties" => {
                let members = value.as_object().into_iter().flatten();
                for (name, member) in members {
                    check(said, member, is_closed).map_err(|it| format!("{name}: {it}"))?;
                }
                true
            }
            other => {
                assert!(NOT_CHECKED.contains(&other), "`{other}` is not known here");
                true
            }
        };
        if !is_so {
            return Err(format!("{value} is not {keyword} {said}"));
        }
    }
    Ok(())
}

fn members(schema: &Map<String, Value>, value: &Value, is_closed: bool) -> Result<(), String> {
    let named = schema["properties"].as_object().unwrap();
    let others = schema.get("additionalProperties");
    for (name, member) in value.as_object().into_iter().flatten() {
        let checked = match (named.get(name), others) {
            (Some(schema), _) => check(schema, member, is_closed),
            (None, Some(Value::Bool(false))) => Err("is not allowed".to_owned()),
            (None, Some(schema)) => check(schema, member, is_closed),
            (None, None) if is_closed => Err("is not in the document".to_owned()),
            (None, None) => Ok(()),
        };
        checked.map_err(|problem| format!("{name}: {problem}"))?;
    }
    Ok(())
}

fn is_of_type(said: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type `{other}`"),
    };
    match said {
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        name => is(name.as_str().unwrap()),
    }
}

fn length(value: &Value) -> Option<u64> {
    let text = value.as_str()?;
    u64::try_from(text.chars().count()).ok()
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_as_described_is_found() {
        let letter = json!({"group": "g", "position": "1", "id": "1", "source": "/s", "topic": "t", "type": "e",
            "key": "", "cause": "rejected", "reason": "r", "attempts": 1, "died": "2030-01-01T00:00:00Z",
            "parked": 0, "redriven": 0});
        must_be("DeadLetter", &letter);
        let schema = &DOCUMENT["components"]["schemas"]["DeadLetter"];
        for (name, value) in [
            ("position", json!(1)),
            ("cause", json!("bored")),
            ("attempts", json!(-1)),
            ("colour", json!("red")),
        ] {
            let mut other = letter.clone();
            other[name] = value;
            assert!(check(schema, &other, true).is_err(), "{other}");
        }
        let mut other = letter;
        other.as_object_mut().unwrap().remove("key");
        assert!(check(schema, &other, true).is_err(), "{other}");
    }
}
