//! `POST /v1/requests`: asks a question of a service, and waits for the reply.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use ensue::CloudEvent;

use super::events::{SingleEvent, read_single};
use super::pieces;
use super::query::{Asked, Parameters, Query, invalid};
use super::route::{Routes, post};
use crate::asking::{self, Replied};
use crate::context::Context;
use crate::openapi::{Answer, AnyEvent, Kind, Operation, Parameter, Tag, Written, about};
use crate::problem::{Code, Problem};
use crate::scan::Unread;
use crate::security::{Access, Action, Caller};

/// Where a client waits for a reply.
pub(super) const PATH: &str = "/v1/requests";
/// Where the last event of a decision is.
const POSITION: &str = "ensue-position";
const TAG: Tag = Tag {
    name: "requests",
    what: "Questions that a service answers.",
};

pub(super) fn routes(routes: Routes) -> Routes {
    let publish = Access::May(Action::Publish);
    let asks = about("request", "Appends a request and waits for its reply").refuses(&[
        Code::NotARequest,
        Code::RequestFailed,
        Code::NoReply,
        Code::Unsupported,
    ]);
    routes.tag(TAG).add(PATH, [post(publish, asks, ask)])
}

/// The query of a request.
#[derive(Debug)]
enum Asking {}

impl Parameters for Asking {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new("topic", Kind::Topic, "The topic, if the event names none."),
        Parameter::new(
            "deadline",
            Kind::Duration,
            "How long to wait for the reply: `30s` by default, at most `wait_max`.",
        ),
    ]];
}

/// What a service answered.
enum Reply {}

impl Answer for Reply {
    fn describe(operation: &mut Operation) {
        let event = operation.written::<AnyEvent>();
        operation
            .answers(200, "The reply.")
            .header(
                POSITION,
                "Of a command that was accepted: where the last event of its decision is, the token to wait for with \
                 `GET /v1/groups/{group}/wait`.",
            )
            .content(CloudEvent::CONTENT_TYPE, event);
    }
}

async fn ask(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Asking>,
    event: SingleEvent,
) -> Result<Written<Reply>, Problem> {
    let deadline = deadline(&context, &query)?;
    let (event, held) = read_single(&context, &caller, event, query.text("topic")).await?;
    drop(held);
    let Replied { reply, decided } = asking::ask(&context, &caller, event, deadline).await?;
    let reply = reply.to_cloudevent().to_string();
    let mut held = caller.answers();
    if !context.answers().hold(&mut held, reply.len()) {
        // Asked again, it is answered from the log.
        return Err(Unread::NoRoom { bytes: reply.len() }.into());
    }
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::from_static(CloudEvent::CONTENT_TYPE);
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(position) = decided {
        headers.insert(POSITION, position.get().into());
    }
    Ok(Written::new((headers, pieces::body(reply, held))))
}

fn deadline(context: &Context, query: &Query) -> Result<Duration, Problem> {
    let asked = query.text("deadline").map(ensue::parse_duration);
    let asked = asked.transpose();
    let asked = asked.map_err(|error| invalid("deadline", &format!("cannot be read: {error}")))?;
    asking::deadline(context, asked).map_err(|problem| invalid("deadline", &problem))
}
