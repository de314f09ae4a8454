//! The document of the API itself.

use std::collections::BTreeSet;

use ensue_server::Code;
use serde_json::Value;

use crate::owasp::ROUTES;
use crate::site::Site;

fn document() -> Value {
    serde_json::from_str(ensue_server::openapi()).unwrap()
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(move |(method, it)| (method.to_ascii_uppercase(), path.clone(), it))
    });
    each.collect()
}

/// Every `$ref` that there is.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|it| references(it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[tokio::test]
async fn a_server_publishes_the_document() {
    let site = Site::start().await;
    let answer = site.client().await.get("/v1/openapi.json").await;
    assert_eq!(answer.ok(), document());
    assert_eq!(answer.headers["content-type"], "application/json");
    site.end().await;
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        let reference = format!("#/components/schemas/{name}");
        assert!(found.contains(reference.as_str()), "{name}");
        let is_second = name.ends_with(|it: char| it.is_ascii_digit());
        assert!(!is_second, "`{name}`: two types have one name; rename one");
    }
}

#[test]
fn operations_have_names_of_their_own_and_say_what_they_are() {
    let document = document();
    let mut names = BTreeSet::new();
    let tags: Vec<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(
        tags.iter()
            .map(|it| it.as_str())
            .collect::<BTreeSet<_>>()
            .len(),
        tags.len()
    );
    for (method, path, operation) in operations(&document) {
        let said = format!("{method} {path}");
        let name = operation["operationId"].as_str().unwrap();
        assert!(
            names.insert(name.to_owned()),
            "{said}: `{name}` is another's"
        );
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{said}");
        let tag = &operation["tags"][0];
        assert!(tags.contains(&tag), "{said}: {tag}");
        let parameters = operation["parameters"].as_array();
        let parameters: Vec<&Value> = parameters.into_iter().flatten().collect();
        let in_path = parameters.iter().filter(|it| it["in"] == "path").count();
        assert_eq!(in_path, path.matches('{').count(), "{said}");
        let mut places = BTreeSet::new();
        for parameter in parameters {
            let place = (parameter["in"].to_string(), parameter["name"].to_string());
            assert!(places.insert(place), "{said}: {parameter} is there twice");
            assert!(parameter["description"].is_string(), "{said}: {parameter}");
        }
    }
}

#[test]
fn every_code_is_one_that_an_operation_refuses_with() {
    let document = document();
    let mut found = BTreeSet::new();
    for (_, _, operation) in operations(&document) {
        for answer in operation["responses"].as_object().unwrap().values() {
            let schema = &answer["content"]["application/problem+json"]["schema"];
            let codes = schema["properties"]["code"]["enum"].as_array();
            found.extend(codes.into_iter().flatten().filter_map(Value::as_str));
        }
    }
    // Of requests that are no operation's.
    found.extend(["method_not_allowed", "not_encrypted"]);
    let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(found, all);
}

#[test]
fn what_needs_permission_says_which() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let tried = ROUTES.iter().any(|it| (it.0, it.1) == (&method, &path));
        let ways = operation["security"].as_array().unwrap();
        assert_eq!(tried, !ways.is_empty(), "{method} {path}");
        let codes = operation["responses"]["401"].is_object();
        assert!(codes || !tried, "{method} {path}");
    }
    let appends = &document["paths"]["/v1/events"]["post"]["security"];
    assert_eq!(appends[0]["bearer"][0], "publish");
}
