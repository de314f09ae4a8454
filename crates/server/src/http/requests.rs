//! `POST /v1/requests`: asks a question of a service, and waits for the reply.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ensue::{CloudEvent, Envelope};

use super::events::read_single;
use super::query::{Query, invalid};
use super::route::{Routes, post};
use crate::asking;
use crate::context::Context;
use crate::problem::Problem;
use crate::security::{Access, Action, Caller};

/// Where a client waits for a reply.
pub(super) const PATH: &str = "/v1/requests";
const KNOWN: [&str; 2] = ["topic", "deadline"];

pub(super) fn routes(routes: Routes) -> Routes {
    let publish = Access::May(Action::Publish);
    routes.add(PATH, [post(publish, ask)])
}

async fn ask(
    State(context): State<Context>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let query = Query::of(request.uri(), &KNOWN)?;
    let deadline = deadline(&context, &query)?;
    let (event, held) = read_single(&context, &caller, request, query.text("topic")).await?;
    drop(held);
    let reply = asking::ask(&context, &caller, event, deadline).await?;
    Ok(answer(&reply))
}

fn answer(reply: &Envelope) -> Response {
    let content_type = [(header::CONTENT_TYPE, CloudEvent::CONTENT_TYPE)];
    (content_type, reply.to_cloudevent().to_string()).into_response()
}

fn deadline(context: &Context, query: &Query) -> Result<Duration, Problem> {
    let asked = query.text("deadline").map(ensue::parse_duration);
    let asked = asked.transpose();
    let asked = asked.map_err(|error| invalid("deadline", &format!("cannot be read: {error}")))?;
    asking::deadline(context, asked).map_err(|problem| invalid("deadline", &problem))
}
