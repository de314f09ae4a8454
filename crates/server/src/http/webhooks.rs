//! `/v1/webhooks`: the endpoints that events are delivered to, and what became of that.

mod receiving;

use axum::Json;
use axum::extract::State;
use ensue::Timestamp;
use ensue::engine::GroupStatus;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::audited::{Loss, Why, audited};
use super::deadline;
use super::json::OptionalJson;
use super::path::Path;
use super::route::{Routes, get, post};
use crate::context::Context;
use crate::openapi::{Tag, Time, about, one_of};
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller, Operation};
use crate::webhooks::{ContentMode, Endpoint, Response, Sender};

pub(super) fn routes(routes: Routes) -> Routes {
    let operate = Access::May(Action::Operate);
    let lists = about("listWebhooks", "Lists the endpoints and the senders");
    let shows = about("getWebhook", "Shows an endpoint and its last responses").refuses(UNKNOWN);
    let tests = about("testWebhook", "Sends a test to an endpoint").refuses(UNKNOWN);
    let disables = about(
        "disableWebhook",
        "Stops deliveries to an endpoint: its events wait",
    )
    .refuses(UNKNOWN);
    let enables = about("enableWebhook", "Delivers to an endpoint again").refuses(UNKNOWN);
    let routes = routes
        .tag(TAG)
        .add("/v1/webhooks", [get(Access::Known, lists, list)])
        .add("/v1/webhooks/{name}", [get(Access::Known, shows, show)])
        .add("/v1/webhooks/{name}/test", [post(operate, tests, test)])
        .add(
            "/v1/webhooks/{name}/disable",
            [post(operate, disables, disable)],
        )
        .add(
            "/v1/webhooks/{name}/enable",
            [post(operate, enables, enable)],
        );
    receiving::routes(routes)
}

const TAG: Tag = Tag {
    name: "webhooks",
    what: "Endpoints that events are delivered to, and senders whose signed requests become events.",
};
const UNKNOWN: &[Code] = &[Code::UnknownWebhook];

/// An endpoint, as it is configured and as it is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookEndpoint")]
pub(super) struct EndpointState {
    name: String,
    url: String,
    /// The group that it is.
    group: String,
    state: &'static str,
    /// How long the state lasts, if that is known.
    #[schemars(with = "Option<Time>")]
    until: Option<Timestamp>,
    /// Why it is in this state.
    reason: Option<String>,
    topics: Vec<String>,
    types: Vec<String>,
    filter: Option<String>,
    #[schemars(schema_with = "content_modes")]
    content: ContentMode,
    public_keys: Vec<String>,
    secrets_trouble: Option<String>,
    /// Failures in a row.
    failures: u32,
    /// Events with which the filter could not be evaluated: they are not sent.
    filter_errors: u64,
    /// Nothing: the engine does not know the group.
    lag: Option<u64>,
    in_flight: Option<usize>,
    retrying: Option<usize>,
    parked: Option<usize>,
    dead_letters: Option<usize>,
    #[schemars(with = "Option<Time>")]
    next_due: Option<Timestamp>,
    last: Option<Response>,
}

fn content_modes(_: &mut SchemaGenerator) -> Schema {
    one_of(&[ContentMode::Structured, ContentMode::Binary])
}

impl EndpointState {
    /// What the caller may see of it; the last response, which has to do with an event, only if they
    /// may handle those.
    fn shown(endpoint: &Endpoint, caller: &Caller, group: Option<&GroupStatus>) -> Option<Self> {
        let (config, state) = (endpoint.config(), endpoint.state());
        if !caller.is_admin() && !group.is_some_and(|group| caller.sees(group)) {
            return None;
        }
        let handles = group.is_some_and(|group| caller.handles(group));
        Some(Self {
            name: config.name.clone(),
            url: config.url.to_string(),
            group: endpoint.group(),
            state: state.name,
            until: state.until,
            reason: state.reason,
            topics: config.topics.iter().map(ToString::to_string).collect(),
            types: config.types.clone(),
            filter: config.filter.clone(),
            content: config.content,
            public_keys: endpoint.public_keys(),
            secrets_trouble: state.secrets_trouble,
            failures: state.failures,
            filter_errors: state.filter_errors,
            lag: group.map(|it| it.lag),
            in_flight: group.map(|it| it.in_flight),
            retrying: group.map(|it| it.retrying),
            parked: group.map(|it| it.parked),
            dead_letters: group.map(|it| it.dead),
            next_due: group.and_then(|it| it.next_due),
            last: endpoint
                .last()
                .filter(|_| handles)
                .map(|last| disclosed(last, endpoint, caller)),
        })
    }
}

/// A response as the caller may see it: a receiver that gets what is personal may send it back.
fn disclosed(response: Response, endpoint: &Endpoint, caller: &Caller) -> Response {
    if endpoint.config().personal && !caller.sees_personal(response.topic()) {
        return response.masked();
    }
    response
}

/// The endpoints that the caller sees, by name.
pub(super) fn states(
    context: &Context,
    caller: &Caller,
    groups: &[GroupStatus],
) -> Vec<EndpointState> {
    let endpoints = context.webhooks().endpoints();
    let shown = endpoints.filter_map(|endpoint| {
        let name = endpoint.group();
        let group = groups.iter().find(|group| group.name == name);
        EndpointState::shown(endpoint, caller, group)
    });
    shown.collect()
}

/// An endpoint, if the caller sees it.
async fn state(
    context: &Context,
    caller: &Caller,
    endpoint: &Endpoint,
) -> Result<Option<EndpointState>, Problem> {
    let group = deadline::within(context, context.group(&endpoint.group())).await?;
    Ok(EndpointState::shown(endpoint, caller, group.as_ref()))
}

/// The webhooks of the configuration that the caller sees.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhooks")]
struct Listed {
    endpoints: Vec<EndpointState>,
    #[serde(rename = "in")]
    senders: Vec<SenderState>,
}

/// Who may send events here.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookSender")]
struct SenderState {
    name: String,
    /// Where it sends them.
    path: String,
    topic: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Why its secrets cannot be read.
    secrets_trouble: Option<String>,
}

async fn list(State(context): State<Context>, caller: Caller) -> Result<Json<Listed>, Problem> {
    let mut endpoints = Vec::new();
    for endpoint in context.webhooks().endpoints() {
        endpoints.extend(state(&context, &caller, endpoint).await?);
    }
    let senders = context.webhooks().senders().filter(|sender| {
        let topic = &sender.config().topic;
        caller.sees_topic(topic) || caller.may(Action::Publish, topic)
    });
    let shown = |sender: &Sender| {
        let config = sender.config();
        SenderState {
            name: config.name.clone(),
            path: format!("/v1/webhooks/in/{}", config.name),
            topic: config.topic.clone(),
            event_type: config.event_type.clone(),
            secrets_trouble: sender.trouble(),
        }
    };
    Ok(Json(Listed {
        endpoints,
        senders: senders.map(shown).collect(),
    }))
}

/// An endpoint and its last responses.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookEndpointWithResponses")]
struct Shown {
    #[serde(flatten)]
    endpoint: EndpointState,
    /// The last ones, the newest first.
    responses: Vec<Response>,
}

async fn show(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let endpoint = find(&context, &name)?;
    let shown = state(&context, &caller, endpoint).await?;
    let shown = shown.ok_or_else(|| unknown(&name))?;
    let handles = shown.last.is_some();
    let responses = if handles {
        endpoint.responses()
    } else {
        Vec::new()
    };
    let responses = responses.into_iter();
    let responses = responses
        .map(|response| disclosed(response, endpoint, &caller))
        .collect();
    Ok(Json(Shown {
        endpoint: shown,
        responses,
    }))
}

async fn test(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    why: Why,
) -> Result<Json<Response>, Problem> {
    let endpoint = to_operate(&context, &caller, &name).await?;
    let operation = Operation::new("webhook.test", json!({ "webhook": name }));
    let mut response = None;
    let work = async {
        response = Some(endpoint.test().await?);
        Ok(json!({}))
    };
    let loss = (&why, Loss::Nothing);
    audited(&context, &caller, operation, loss, work).await?;
    response.map(Json).ok_or_else(|| unknown(&name))
}

/// Why an endpoint is switched.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "WebhookSwitch")]
struct Switched {
    /// What operators read of it.
    reason: String,
}

async fn disable(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    why: Why,
    body: OptionalJson<Switched>,
) -> Result<Json<EndpointState>, Problem> {
    switch((&context, &caller), &name, true, (why, body)).await
}

async fn enable(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    why: Why,
    body: OptionalJson<Switched>,
) -> Result<Json<EndpointState>, Problem> {
    switch((&context, &caller), &name, false, (why, body)).await
}

async fn switch(
    (context, caller): (&Context, &Caller),
    name: &str,
    is_disabled: bool,
    (why, body): (Why, OptionalJson<Switched>),
) -> Result<Json<EndpointState>, Problem> {
    let endpoint = to_operate(context, caller, name).await?;
    let switched = body.read(context).await?;
    let action = if is_disabled {
        "webhook.disable"
    } else {
        "webhook.enable"
    };
    let target = json!({ "webhook": name, "reason": switched.reason });
    let work = async {
        let switching = endpoint.set_disabled(is_disabled, &switched.reason);
        deadline::within(context, switching).await?;
        Ok(json!({}))
    };
    let operation = Operation::new(action, target);
    let loss = (&why, Loss::Nothing);
    audited(context, caller, operation, loss, work).await?;
    let shown = state(context, caller, endpoint).await?;
    shown.map(Json).ok_or_else(|| unknown(name))
}

fn find<'a>(context: &'a Context, name: &str) -> Result<&'a Endpoint, Problem> {
    let found = context.webhooks().endpoint(name);
    found
        .map(|endpoint| &**endpoint)
        .ok_or_else(|| unknown(name))
}

/// An endpoint whose topics the caller may operate. One that the caller may not see is not there, for
/// all that they can tell.
async fn to_operate<'a>(
    context: &'a Context,
    caller: &Caller,
    name: &str,
) -> Result<&'a Endpoint, Problem> {
    let endpoint = find(context, name)?;
    let topics = endpoint.config().topics.iter().map(ToString::to_string);
    if let Err(problem) = caller.must_cover(Action::Operate, &topics.collect::<Vec<_>>()) {
        let is_seen = state(context, caller, endpoint).await?.is_some();
        return Err(if is_seen { problem } else { unknown(name) });
    }
    Ok(endpoint)
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    Problem::new(
        Code::UnknownWebhook,
        format!(
            "there is no webhook endpoint `{shown}`; `GET /v1/webhooks` lists those of the configuration"
        ),
    )
}
