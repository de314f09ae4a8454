//! `POST …/members/{member}/take`: the next deliveries, as soon as there are any.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ensue::consumer::{Taken, Wanted, cell_json};
use ensue::{Clock, CloudEvent};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{call, refused};
use crate::context::Context;
use crate::http::path::Path;
use crate::http::place::Place;
use crate::http::query::{Asked, Parameters, Query, invalid};
use crate::http::{deadline, pieces};
use crate::openapi::{Answer, AnyEvent, Anything, Base64Text, Kind, Operation, Parameter, Written};
use crate::problem::{Code, Problem};
use crate::security::{Action, Caller};

/// How many deliveries a client is given unless it is said.
const EVENTS: usize = 10;
/// What is there takes a moment to be read, also for a client that does not wait.
const READ: Duration = Duration::from_millis(100);
/// The most cells of state that are asked for.
const CELLS_MAX: usize = 16;

/// The query of a take.
#[derive(Debug)]
pub(super) enum Taking {}

impl Parameters for Taking {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new(
            "wait",
            Kind::Duration,
            "How long to wait for the first event: `10s` by default, at most `wait_max`; with `0s` what is there.",
        ),
        Parameter::new("max", Kind::Number { min: 1, max: None, default: None }, "How many deliveries: 10 by default."),
        Parameter::new(
            "bytes",
            Kind::Number { min: 1, max: None, default: None },
            "How many bytes of events; one event is always possible.",
        ),
        Parameter::new(
            "state",
            Kind::Text,
            "A cell of the state of each event's key, as of the last commit; several times for several.",
        )
        .repeatable(),
        Parameter::new(
            "again",
            Kind::Flag,
            "`true`: begin with what the member holds, for a client that lost an answer to a take.",
        ),
    ]];
}

/// An event for a client.
#[derive(Serialize, JsonSchema)]
struct Delivery<'a> {
    position: Place,
    /// Which delivery of the event it is; a commit names it with the position.
    generation: u64,
    /// How often it was tried, from 1.
    attempt: u32,
    /// How often the group was moved back.
    run: u64,
    /// Whether effects of this event are held back after a reset: then only state counts.
    holds_back: bool,
    #[schemars(with = "AnyEvent")]
    event: CloudEvent<'a>,
    /// The cells that were asked for and that there are, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, Anything>")]
    state: Option<BTreeMap<&'a str, &'a RawValue>>,
    /// Cells that are not JSON.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Base64Text>")]
    state_base64: BTreeMap<&'a str, String>,
}

/// What the member has to handle, in order for each key.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deliveries<'a> {
    deliveries: Vec<Delivery<'a>>,
}

impl Answer for Deliveries<'static> {
    fn describe(operation: &mut Operation) {
        axum::Json::<Self>::describe(operation);
    }
}

pub(super) async fn take(
    State(context): State<Context>,
    caller: Caller,
    Path((group, member)): Path<(String, String)>,
    query: Asked<Taking>,
) -> Result<Written<Deliveries<'static>>, Problem> {
    let (wanted, wait) = (
        wanted(&context, &query)?,
        deadline::wait(&context, &query, "wait")?,
    );
    let call = call(&context, &caller, &group, &member)?;
    if context.is_leaving() {
        return Err(Problem::new(
            Code::Overloaded,
            "the server is stopping; commit what was taken, and join again, at another server or when it is \
             back",
        ));
    }
    let bytes_max = context.limits().deliveries_bytes_max;
    let (_, bytes) = context.leases().held();
    if bytes >= bytes_max && call.consumer().bytes() == 0 {
        return Err(Problem::new(
            Code::Overloaded,
            format!(
                "clients hold {bytes} bytes of events, the limit `deliveries_bytes_max` is {bytes_max}; try \
                 again when some are committed"
            ),
        ));
    }
    let clock = context.engine().clock().clone();
    let taken = tokio::select! {
        biased;
        taken = call.consumer().take(&wanted) => taken,
        () = over(clock, wait) => Ok(Vec::new()),
        () = context.leaving() => Ok(Vec::new()),
    };
    let mut taken = taken.map_err(|error| refused(&call, error))?;
    // The credentials may have been revoked while nothing came.
    let caller = context.still(&caller)?;
    if let Some(barred) = barred(&caller, &taken) {
        // What it holds goes to members that may have it.
        deadline::within(&context, call.leave()).await?;
        return Err(barred);
    }
    for taken in &mut taken {
        caller.disclose(&mut taken.delivery.envelope)?;
    }
    let has_state = !wanted.cells.is_empty();
    let deliveries = taken.iter().map(|taken| delivery(taken, has_state));
    let answer = Deliveries {
        deliveries: deliveries.collect(),
    };
    let text = serde_json::to_string(&answer).map_err(|error| {
        let detail = format!("what was taken cannot be written: {error}; take with `again=true`");
        Problem::new(Code::Internal, detail)
    })?;
    let mut held = caller.answers();
    if !context.answers().hold(&mut held, text.len()) {
        return Err(Problem::new(
            Code::Overloaded,
            "the answers under way are as large as they may be together, the limit `answers_bytes_max`; \
             take with `again=true` in a moment, for the member holds what it was to be given",
        ));
    }
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok(Written::new((headers, pieces::body(text, held))))
}

/// Why the caller may not have what its member was given: another has joined the group since, with topics that
/// this one may not consume.
fn barred(caller: &Caller, taken: &[Taken]) -> Option<Problem> {
    let mut topics = taken.iter().map(|it| it.delivery.envelope.topic());
    topics.find_map(|topic| caller.must(Action::Consume, topic).err())
}

async fn over(clock: Clock, wait: Duration) {
    if wait < READ {
        clock.pause(READ).await;
    } else {
        clock.sleep(wait).await;
    }
}

fn wanted(context: &Context, query: &Query) -> Result<Wanted, Problem> {
    let limits = context.limits();
    let number = |name: &str, default: usize, max: usize| {
        let value = query.value(name, "expected a number")?.unwrap_or(default);
        if (1..=max).contains(&value) {
            return Ok(value);
        }
        Err(invalid(name, &format!("is {value}; expected 1 to {max}")))
    };
    let cells: Vec<String> = query.texts("state").map(str::to_owned).collect();
    if cells.len() > CELLS_MAX {
        let problem = format!("is there more than {CELLS_MAX} times");
        return Err(invalid("state", &problem));
    }
    Ok(Wanted {
        events_max: number(
            "max",
            EVENTS.min(limits.deliveries_max),
            limits.deliveries_max,
        )?,
        bytes_max: number("bytes", limits.answer_bytes_max, limits.answer_bytes_max)?,
        cells,
        again: query
            .value("again", "expected true or false")?
            .unwrap_or(false),
    })
}

fn delivery(taken: &Taken, has_state: bool) -> Delivery<'_> {
    let (mut state, mut state_base64) = (BTreeMap::new(), BTreeMap::new());
    for (name, bytes) in &taken.cells {
        let json = cell_json(bytes).and_then(|json| serde_json::from_str::<&RawValue>(json).ok());
        match json {
            Some(json) => drop(state.insert(name.as_str(), json)),
            None => drop(state_base64.insert(name.as_str(), BASE64.encode(bytes))),
        }
    }
    let delivery = &taken.delivery;
    Delivery {
        position: Place(delivery.position),
        generation: delivery.generation,
        attempt: delivery.attempt,
        run: delivery.run.number,
        holds_back: delivery.run.holds_back,
        event: delivery.envelope.to_cloudevent(),
        state: has_state.then_some(state),
        state_base64,
    }
}
