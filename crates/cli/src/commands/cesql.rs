//! `ensue cesql`: what does an expression in CloudEvents SQL say of an event?

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use ensue_cesql::{Evaluation, Expression, ParseError, Type, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report, Tone};

/// How large the file of an event may be.
const EVENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Evaluate an expression in CloudEvents SQL over the attributes of an event
#[derive(Args, Debug)]
#[command(
    after_help = "An evaluation always has a result; what went wrong stands beside it, and the exit code \
is 0. The kinds of error are parse, math, cast, missingAttribute, missingFunction, functionEvaluation and generic.

Examples:
  ensue cesql \"type LIKE 'order.%' AND EXISTS subject\" --event event.json
  ensue cesql 'LENGTH(subject)' --event - < event.json
  ensue --json cesql '1 / 0' | jq .error"
)]
pub(crate) struct Cesql {
    /// The expression
    #[arg(allow_hyphen_values = true)]
    expression: String,
    /// The event, a CloudEvent in JSON; `-` is stdin. Without it: an event without attributes
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
}

#[derive(Serialize)]
struct Evaluated {
    result: Json,
    /// The kind of the error.
    error: Option<&'static str>,
    /// The error in words.
    #[serde(skip)]
    message: Option<String>,
}

impl Cesql {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        let attributes = match &self.event {
            Some(path) => attributes_of(path)?,
            None => BTreeMap::new(),
        };
        out.report(&match Expression::parse(&self.expression) {
            Ok(expression) => Evaluated::of(expression.evaluate(&attributes)),
            Err(error) => Evaluated::refused(&error),
        })
    }
}

/// The attributes of the CloudEvent in a file: of any, not only of those that a log takes.
fn attributes_of(path: &Path) -> Result<BTreeMap<String, Value<'static>>, Failure> {
    let (name, json) = read(path)?;
    let invalid = |why: String| {
        Failure::new(
            "invalid_event",
            format!("{name} is not a CloudEvent in JSON: {why}"),
            "expected an object whose members are the event's attributes",
        )
    };
    let members: Map<String, Json> =
        serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
    let mut attributes = BTreeMap::new();
    for (name, member) in members {
        // The payload is no attribute.
        if name == "data" || name == "data_base64" {
            continue;
        }
        let value = match member {
            // The format's way to say that the event does not have it.
            Json::Null => continue,
            Json::String(text) => text.into(),
            Json::Bool(truth) => truth.into(),
            Json::Number(number) => match number.as_i64().map(i32::try_from) {
                Some(Ok(integer)) => integer.into(),
                _ => number.to_string().into(),
            },
            Json::Array(_) | Json::Object(_) => {
                let name = human::printable(&name);
                return Err(invalid(format!(
                    "attribute `{name}` is neither a string, a number nor a boolean"
                )));
            }
        };
        attributes.insert(name.to_ascii_lowercase(), value);
    }
    Ok(attributes)
}

/// A file, or stdin, and what to call it.
fn read(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin {
        "stdin".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    let failed = |error| Failure::io(&format!("cannot read {name}"), &error);
    let from: Box<dyn Read> = if is_stdin {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    let mut limited = from.take(EVENT_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > EVENT_BYTES_MAX {
        let limit = human::bytes(EVENT_BYTES_MAX);
        return Err(Failure::new(
            "invalid_event",
            format!("{name} is larger than {limit}"),
            "give the event without its payload: expressions see its attributes only",
        ));
    }
    Ok((name, bytes))
}

impl Evaluated {
    fn of(evaluation: Evaluation<'_>) -> Self {
        Self {
            result: json(evaluation.value),
            error: evaluation.error.as_ref().map(|it| it.kind().as_str()),
            message: evaluation.error.map(|error| error.to_string()),
        }
    }

    /// What an expression returns that could not be parsed: its type is unknown, so it is a boolean.
    fn refused(error: &ParseError) -> Self {
        Self {
            result: json(Type::Boolean.zero()),
            error: Some(error.kind().as_str()),
            message: Some(error.to_string()),
        }
    }
}

fn json(value: Value<'_>) -> Json {
    match value {
        Value::Text(text) => Json::from(text),
        Value::Integer(number) => Json::from(number),
        Value::Boolean(truth) => Json::from(truth),
    }
}

impl Report for Evaluated {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line(human::printable(&self.result.to_string()))?;
        let (Some(kind), Some(message)) = (self.error, &self.message) else {
            return Ok(());
        };
        let kind = page.paint(Tone::Bad, kind);
        page.line(format_args!("{kind}: {}", human::printable(message)))
    }
}
