//! `GET /v1/openapi.json`: this API, described.

use axum::http::header;

use super::route::{Routes, SERVER, get};
use crate::openapi::{Answer, Operation, Written, about};
use crate::security::Access;

pub(super) fn routes(routes: Routes, document: fn() -> &'static str) -> Routes {
    let show = move || async move { show(document()) };
    let about = about("getOpenApi", "This document");
    routes
        .tag(SERVER)
        .add("/v1/openapi.json", [get(Access::Known, about, show)])
}

struct Document;

impl Answer for Document {
    fn describe(operation: &mut Operation) {
        let object = serde_json::json!({ "type": "object" });
        operation
            .answers(
                200,
                "The HTTP API of this server, as a document of OpenAPI 3.1.",
            )
            .content("application/json", object);
    }
}

fn show(document: &'static str) -> Written<Document> {
    Written::new(([(header::CONTENT_TYPE, "application/json")], document))
}
