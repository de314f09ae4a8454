//! `POST /v1/groups/{group}/members`: joins a group.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use ensue::consumer::{Consumer, ConsumerOptions};
use ensue::engine::Subscription;
use ensue::{Start, TopicPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::millis;
use crate::config::Limits;
use crate::context::Context;
use crate::http::json::JsonBody;
use crate::http::path::Path;
use crate::http::{deadline, place};
use crate::openapi::{DurationText, StartText, TopicPatternText};
use crate::problem::{Code, Problem};
use crate::security::{Action, Caller};
use crate::subscribing::{self, TOPICS_MAX, TYPES_MAX};

/// The shortest lease, and the lease unless it is said.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);
/// How many deliveries a client holds unless it is said.
const IN_FLIGHT: usize = 100;

/// What a client wants of a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Join")]
pub(super) struct Wanted {
    /// Topics and patterns. Members of one group ask for the same.
    #[schemars(with = "Vec<TopicPatternText>", length(min = 1, max = TOPICS_MAX))]
    topics: Vec<String>,
    /// Types of events: every type by default.
    #[schemars(length(min = 1, max = TYPES_MAX))]
    types: Option<Vec<String>>,
    /// Where the group starts if it is new: `earliest` (the default), `latest`, a position or a time.
    #[schemars(with = "Option<StartText>")]
    start: Option<String>,
    /// How long the client may say nothing: `30s` by default, from `1s` to `lease_max`.
    #[schemars(with = "Option<DurationText>")]
    lease: Option<String>,
    /// How many events the member holds at the most: 100 by default.
    #[schemars(range(min = 1))]
    in_flight_max: Option<usize>,
    /// How many events of one key the client has at a time: 1 by default.
    #[schemars(range(min = 1))]
    key_events_max: Option<usize>,
}

/// The client is a member of the group.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JoinedGroup")]
pub(super) struct Joined {
    group: String,
    /// The member, which later requests name.
    member: String,
    generation: u64,
    /// How long the client may say nothing, in milliseconds.
    lease_ms: u64,
    in_flight_max: usize,
    key_events_max: usize,
}

pub(super) async fn join(
    State(context): State<Context>,
    caller: Caller,
    Path(group): Path<String>,
    body: JsonBody<Wanted>,
) -> Result<Json<Joined>, Problem> {
    subscribing::check_group(&group).map_err(|unfit| unfit.problem(Code::InvalidBody))?;
    context.webhooks().must_not_own(&group)?;
    must_consume(&context, &caller, &group).await?;
    let wanted = body.read(&context).await?;
    let limits = context.limits();
    let lease = wanted.lease(limits)?;
    let in_flight_max = wanted.in_flight_max.unwrap_or(IN_FLIGHT);
    let in_flight_max = within("in_flight_max", in_flight_max, limits.deliveries_max)?;
    let key_events_max = wanted.key_events_max.unwrap_or(1);
    let key_events_max = within("key_events_max", key_events_max, in_flight_max)?;
    let subscription = Subscription {
        topics: wanted.patterns(&caller)?,
        start: wanted.start()?,
        types: wanted.types()?,
        group: group.clone(),
        in_flight_max,
    };
    let place = context.leases().place(&group, caller.name());
    let place = place.map_err(|none| none.problem(limits, &group))?;
    // Whoever gives up until here leaves no member behind.
    let options = ConsumerOptions {
        key_events_max,
        suspects: context.suspects().of(&group),
        metrics: context.services().clone(),
        tracer: context.tracing().clients(),
    };
    let (subscribed, turn) = context.subscriptions().subscribe(&subscription).await?;
    let joining = Consumer::join(context.engine(), subscription, options);
    let consumer = deadline::within(&context, joining).await?;
    drop(turn);
    let place = place.with(subscribed);
    let (member, call) = context
        .leases()
        .add(place, (consumer, wanted.topics), lease);
    let generation = deadline::within(&context, call.consumer().generation());
    Ok(Json(Joined {
        generation: generation.await.inspect_err(|_| call.replaced())?,
        group,
        member,
        lease_ms: millis(lease),
        in_flight_max,
        key_events_max,
    }))
}

/// Refuses a caller who may not consume what the group has, if there is one.
async fn must_consume(context: &Context, caller: &Caller, group: &str) -> Result<(), Problem> {
    if caller.may_everything() {
        return Ok(());
    }
    match deadline::within(context, context.group(group)).await? {
        Some(group) => caller.must_join(&group),
        None => Ok(()),
    }
}

impl Wanted {
    pub(super) fn patterns(&self, caller: &Caller) -> Result<Vec<TopicPattern>, Problem> {
        let checked = subscribing::check_topics(self.topics.len());
        checked.map_err(|unfit| unfit.problem(Code::InvalidBody))?;
        let topics = self.topics.iter().map(|topic| {
            let pattern = topic.parse::<TopicPattern>();
            pattern.map_err(|error| Problem::new(Code::InvalidBody, format!("`topics`: {error}")))
        });
        let topics = topics.collect::<Result<_, _>>()?;
        caller.must_cover(Action::Consume, &self.topics)?;
        Ok(topics)
    }

    pub(super) fn types(&self) -> Result<Option<Vec<String>>, Problem> {
        let checked = subscribing::check_types(self.types.as_deref());
        checked.map_err(|unfit| unfit.problem(Code::InvalidBody))?;
        Ok(self.types.clone())
    }

    pub(super) fn start(&self) -> Result<Start, Problem> {
        let Some(text) = self.start.as_deref() else {
            return Ok(Start::default());
        };
        place::start(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let detail = format!(
                "`start` is `{shown}`; expected `earliest`, `latest`, a position, or a time such as \
                 2030-01-31T12:00:00Z"
            );
            Problem::new(Code::InvalidBody, detail)
        })
    }

    pub(super) fn lease(&self, limits: &Limits) -> Result<Duration, Problem> {
        let lease = match self.lease.as_deref().map(ensue::parse_duration) {
            None => LEASE.min(limits.lease_max),
            Some(Ok(lease)) => lease,
            Some(Err(error)) => {
                let detail = format!("`lease` cannot be read: {error}");
                return Err(Problem::new(Code::InvalidBody, detail));
            }
        };
        if (LEASE_MIN..=limits.lease_max).contains(&lease) {
            return Ok(lease);
        }
        let max = limits.lease_max;
        Err(Problem::new(
            Code::InvalidBody,
            format!(
                "`lease` is {lease:?}; expected {LEASE_MIN:?} to {max:?}, the limit `lease_max`"
            ),
        ))
    }
}

/// A number from 1 to `max`.
fn within(what: &str, value: usize, max: usize) -> Result<usize, Problem> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    let detail = format!("{what} is {value}; expected 1 to {max}");
    Err(Problem::new(Code::InvalidBody, detail).with("max", max.into()))
}
