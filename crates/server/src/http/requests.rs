//! `POST /v1/requests`: asks a question of a service, and waits for the reply.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ensue::{CloudEvent, Envelope, Error, Outgoing};

use super::events::read_single;
use super::query::{Query, invalid};
use super::route::{Routes, post};
use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller};

/// Where a client waits for a reply.
pub(super) const PATH: &str = "/v1/requests";
const KNOWN: [&str; 2] = ["topic", "deadline"];
/// How long a client waits unless it is said.
const DEADLINE: Duration = Duration::from_secs(30);

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
    let topic = event.topic().to_owned();
    let request = Outgoing::raw(event.to_builder());
    // What was read is the engine's from here on.
    drop((event, held));
    // A client that goes away drops this, and nothing waits for the reply any more.
    let reply = context.requester().request_envelope(request, deadline);
    let mut reply = reply.await.map_err(refused)?;
    caller.disclose_as_of(&topic, &mut reply)?;
    Ok(answer(&reply))
}

fn answer(reply: &Envelope) -> Response {
    let content_type = [(header::CONTENT_TYPE, CloudEvent::CONTENT_TYPE)];
    (content_type, reply.to_cloudevent().to_string()).into_response()
}

fn refused(error: Error) -> Problem {
    match error {
        Error::Limit(limit) if limit.limit == "REQUESTS_MAX" => {
            Problem::new(Code::Overloaded, limit.to_string())
        }
        other => other.into(),
    }
}

fn deadline(context: &Context, query: &Query) -> Result<Duration, Problem> {
    let max = context.limits().wait_max;
    let deadline = match query.text("deadline").map(ensue::parse_duration) {
        None => return Ok(DEADLINE.min(max)),
        Some(Ok(deadline)) => deadline,
        Some(Err(error)) => return Err(invalid("deadline", &format!("cannot be read: {error}"))),
    };
    if deadline > max || deadline.is_zero() {
        let problem = format!(
            "is {deadline:?}; expected more than 0 and at most {max:?}, the limit `wait_max`"
        );
        return Err(invalid("deadline", &problem));
    }
    Ok(deadline)
}
