//! The official conformance cases, where this checkout has them beside it.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ensue_cesql::{Evaluation, Expression, Type, Value};
use yaml_rust2::{Yaml, YamlLoader};

const CASES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/conformance/cesql"
);

type Event = BTreeMap<String, Value<'static>>;

#[test]
fn every_official_case_gives_its_result_and_its_error() {
    let files = files(Path::new(CASES));
    if files.is_empty() {
        eprintln!("NOT TESTED: the official cases are not at {CASES}");
        return;
    }
    let mut passed = 0;
    let mut failed = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for document in YamlLoader::load_from_str(&text).unwrap() {
            for case in document["tests"].as_vec().unwrap() {
                match run(case) {
                    Ok(()) => passed += 1,
                    Err(why) => failed.push(format!("{}: {why}", file.display())),
                }
            }
        }
    }
    println!("{passed} official cases passed");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > 0, "the files at {CASES} have no cases");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let files = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    files
}

fn run(case: &Yaml) -> Result<(), String> {
    // `10` and `TRUE` are numbers and booleans to YAML.
    let text = value(&case["expression"]).to_string();
    let event = event(case);
    let found = match Expression::parse(&text) {
        Ok(expression) => {
            let Evaluation { value, error } = expression.evaluate(&event).into_owned();
            (value, error.map(|error| error.kind().as_str()))
        }
        Err(error) => (Type::Boolean.zero(), Some(error.kind().as_str())),
    };
    // A case may leave open what the value beside an error is.
    let result = match &case["result"] {
        Yaml::BadValue => found.0.clone(),
        result => value(result),
    };
    let expected = (result, case["error"].as_str());
    if found == expected {
        return Ok(());
    }
    let name = case["name"].as_str().unwrap_or_default();
    Err(format!(
        "{name}: `{text}` gives {found:?}, expected {expected:?}"
    ))
}

/// The event of a case: its own, or any valid event, with what it overrides.
fn event(case: &Yaml) -> Event {
    let mut event = match &case["event"] {
        Yaml::BadValue => attributes([
            ("specversion", "1.0"),
            ("id", "an-id"),
            ("source", "/a/source"),
            ("type", "a.type"),
        ]),
        own => members(own),
    };
    event.extend(members(&case["eventOverrides"]));
    event
}

fn attributes<const N: usize>(attributes: [(&str, &'static str); N]) -> Event {
    let owned = attributes.map(|(name, value)| (name.to_owned(), value.into()));
    owned.into()
}

fn members(yaml: &Yaml) -> Event {
    let members = yaml.as_hash().into_iter().flatten();
    members
        .map(|(name, member)| (name.as_str().unwrap().to_owned(), value(member)))
        .collect()
}

fn value(yaml: &Yaml) -> Value<'static> {
    match yaml {
        Yaml::Boolean(truth) => (*truth).into(),
        Yaml::Integer(number) => i32::try_from(*number).unwrap().into(),
        Yaml::String(text) | Yaml::Real(text) => text.clone().into(),
        other => panic!("{other:?} is not a value of the language"),
    }
}
