//! `POST …/members/{member}/commit`: what became of deliveries, and what follows from them: all of it, or
//! nothing.

mod bounded;
pub(super) mod said;

use axum::Json;
use axum::extract::State;
use ensue::consumer::{Done, Refused};
use schemars::JsonSchema;
use serde::Serialize;

use self::said::Body;
use super::{call, refused};
use crate::context::Context;
use crate::http::json::JsonBody;
use crate::http::path::Path;
use crate::http::place::Place;
use crate::problem::{Code, Problem};
use crate::security::Caller;

/// The longest name of a commit, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// How many stale deliveries of a commit are named.
const STALE_SHOWN_MAX: usize = 100;

/// All of it is durable.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CommittedDeliveries")]
pub(super) struct Committed {
    generation: u64,
    /// Effects that were not appended, because other events have their ids.
    dropped: usize,
    /// What the client has of keys that are blocked now.
    handed_back: Vec<Place>,
    /// It was committed before, under the same id.
    duplicate: bool,
}

impl From<Done> for Committed {
    fn from(done: Done) -> Self {
        Self {
            generation: done.generation,
            dropped: done.dropped,
            handed_back: done.handed_back.into_iter().map(Place).collect(),
            duplicate: done.is_repeated,
        }
    }
}

pub(super) async fn commit(
    State(context): State<Context>,
    caller: Caller,
    Path((group, member)): Path<(String, String)>,
    body: JsonBody<Body>,
) -> Result<Json<Committed>, Problem> {
    let call = call(&context, &caller, &group, &member)?;
    let said = body.read(&context).await?;
    let name = said.id.clone();
    if name
        .as_ref()
        .is_some_and(|name| name.len() > NAME_BYTES_MAX)
    {
        let detail = format!("`id` is longer than {NAME_BYTES_MAX} bytes");
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let handled = said.handled(context.engine().clock(), &caller)?;
    let committing = call.consumer().commit(name, handled);
    let timeout = context.limits().request_timeout;
    match tokio::time::timeout(timeout, committing).await {
        Ok(Ok(done)) => Ok(Json(done.into())),
        Ok(Err(Refused::Engine(error))) => Err(refused(&call, error)),
        Ok(Err(other)) => Err(problem(other)),
        Err(_) => Err(Problem::new(
            Code::Timeout,
            format!(
                "the engine did not answer within {timeout:?}, the limit `request_timeout`; the commit may \
                 happen yet: send it again with the same `id`"
            ),
        )),
    }
}

fn problem(refused: Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::Stale { positions, .. } => {
            let shown = positions.iter().take(STALE_SHOWN_MAX);
            let shown = shown.map(|position| position.to_string()).collect();
            Problem::new(Code::StaleDelivery, detail)
                .with("positions", shown)
                .with("positions_total", positions.len().into())
        }
        Refused::OutOfOrder { before, .. } => {
            Problem::new(Code::OutOfOrder, detail).with("before", before.to_string().into())
        }
        Refused::Twice(_) => Problem::new(Code::InvalidBody, detail),
        _ => Problem::new(Code::Refused, detail),
    }
}
