//! What one method of a path takes and answers, put together from its handler's types.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use axum::Json;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::parameter::{Parameter, Place};
use super::schemas::Schemas;
use crate::problem::{Code, Problem};

/// What a handler takes out of a request.
pub(crate) trait Input {
    /// Says what clients have to know of it.
    fn describe(operation: &mut Operation);
}

/// What a handler answers.
pub(crate) trait Answer {
    /// Says what clients have to know of it.
    fn describe(operation: &mut Operation);
}

/// An answer that is written by hand, and is what `A` says.
#[derive(Debug)]
pub(crate) struct Written<A>(Response, PhantomData<A>);

impl<A: Answer> Written<A> {
    pub(crate) fn new(response: impl IntoResponse) -> Self {
        Self(response.into_response(), PhantomData)
    }
}

impl<A> IntoResponse for Written<A> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<A: Answer> Answer for Written<A> {
    fn describe(operation: &mut Operation) {
        A::describe(operation);
    }
}

impl<T: Serialize + JsonSchema> Answer for Json<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.written::<T>();
        let what = operation.schemas.description(&schema);
        let what = what.unwrap_or_else(|| "Done.".to_owned());
        operation
            .answers(200, what)
            .content("application/json", schema);
    }
}

impl<A: Answer> Answer for Result<A, Problem> {
    fn describe(operation: &mut Operation) {
        A::describe(operation);
    }
}

impl Answer for &'static str {
    fn describe(operation: &mut Operation) {
        let text = operation.written::<String>();
        operation
            .answers(200, "A line of text.")
            .content("text/plain", text);
    }
}

/// What one method of a path takes and answers.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    pub(super) schemas: Schemas,
    parameters: Vec<Value>,
    body: Map<String, Value>,
    body_is_optional: bool,
    answers: BTreeMap<u16, Answered>,
    refusals: Vec<Code>,
}

/// An answer of one status.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    what: String,
    headers: Map<String, Value>,
    content: Map<String, Value>,
}

impl Answered {
    /// In this media type it is what the schema says.
    pub(crate) fn content(&mut self, media: &str, schema: Value) -> &mut Self {
        self.content
            .insert(media.to_owned(), json!({ "schema": schema }));
        self
    }

    /// It has this header.
    pub(crate) fn header(&mut self, name: &str, what: &str) -> &mut Self {
        let header = json!({ "description": what, "schema": { "type": "string" } });
        self.headers.insert(name.to_owned(), header);
        self
    }

    fn into_json(self) -> Value {
        let mut answer = Map::new();
        answer.insert("description".to_owned(), self.what.into());
        for (name, members) in [("headers", self.headers), ("content", self.content)] {
            if !members.is_empty() {
                answer.insert(name.to_owned(), members.into());
            }
        }
        answer.into()
    }
}

impl Operation {
    /// One whose schemas are put beside those of others.
    pub(super) fn new(schemas: Schemas) -> Self {
        Self {
            schemas,
            ..Self::default()
        }
    }

    /// It has this parameter.
    pub(crate) fn takes(&mut self, place: Place, parameter: &Parameter) {
        let parameter = parameter.to_json(place);
        self.parameters.push(parameter);
    }

    /// Its body may be what the schema says, in this media type.
    pub(crate) fn body(&mut self, media: &str, schema: Value) {
        self.body
            .insert(media.to_owned(), json!({ "schema": schema }));
    }

    /// It may come without a body.
    pub(crate) fn body_may_be_left_out(&mut self) {
        self.body_is_optional = true;
    }

    /// It may be answered with this status.
    pub(crate) fn answers(&mut self, status: u16, what: impl Into<String>) -> &mut Answered {
        let answer = self.answers.entry(status).or_default();
        answer.what = what.into();
        answer
    }

    /// It may be refused with these codes.
    pub(crate) fn refuses(&mut self, codes: &[Code]) {
        for code in codes {
            if !self.refusals.contains(code) {
                self.refusals.push(*code);
            }
        }
    }

    /// The schema of a `T` that is read.
    pub(crate) fn read<T: JsonSchema>(&mut self) -> Value {
        self.schemas.read::<T>()
    }

    /// The schema of a `T` that is written.
    pub(crate) fn written<T: JsonSchema>(&mut self) -> Value {
        self.schemas.written::<T>()
    }

    /// Its members in the document, and the schemas that they refer to.
    pub(super) fn finish(mut self) -> (Map<String, Value>, Schemas) {
        self.add_refusals();
        let mut members = Map::new();
        if !self.parameters.is_empty() {
            members.insert("parameters".to_owned(), self.parameters.into());
        }
        if !self.body.is_empty() {
            let body = json!({ "content": self.body, "required": !self.body_is_optional });
            members.insert("requestBody".to_owned(), body);
        }
        let answers = self.answers.into_iter();
        let answers = answers.map(|(status, answer)| (status.to_string(), answer.into_json()));
        members.insert(
            "responses".to_owned(),
            answers.collect::<Map<_, _>>().into(),
        );
        (members, self.schemas)
    }

    /// The problem documents, one answer for each status.
    fn add_refusals(&mut self) {
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in &self.refusals {
            by_status.entry(code.status()).or_default().push(*code);
        }
        for (status, mut codes) in by_status {
            codes.sort_unstable_by_key(|code| code.as_str());
            let lines = codes
                .iter()
                .map(|code| format!("- `{}`: {}", code.as_str(), code.title().trim()));
            let what = lines.collect::<Vec<_>>().join("\n");
            let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
            let schema = json!({
                "allOf": [{ "$ref": "#/components/schemas/Problem" }],
                "properties": { "code": { "enum": names } },
            });
            let answer = self.answers(status, what);
            answer.content(crate::problem::CONTENT_TYPE, schema);
            if codes.iter().any(|code| code.is_for_later()) {
                answer.header("Retry-After", "After how many seconds to try again.");
            }
        }
    }
}
