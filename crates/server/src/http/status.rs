//! `GET /v1/status`: what is going on in the server and in its engine.

use axum::Json;
use axum::extract::State;
use ensue::engine::{
    Atomicity, DedupWindow, EngineStatus, GroupStatus, Guarantees, KeyBacklog, MemberStatus,
    Needed, TopicStatus,
};
use ensue::{Cursor, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::deadline;
use super::place::Place;
use super::route::{Routes, SERVER, get};
use super::webhooks::{self, EndpointState};
use crate::context::Context;
use crate::openapi::{CursorText, Time, about, one_of};
use crate::problem::Problem;
use crate::security::{Access, Caller, ProviderState};

pub(super) fn routes(routes: Routes) -> Routes {
    let about = about(
        "getStatus",
        "Shows what is going on in the server and in its engine",
    );
    routes
        .tag(SERVER)
        .add("/v1/status", [get(Access::Known, about, status)])
}

async fn status(State(context): State<Context>, caller: Caller) -> Result<Json<Status>, Problem> {
    let status = deadline::within(&context, context.engine().status()).await?;
    Ok(Json(Status {
        server: ServerStatus::shown(&context, &caller),
        webhooks: webhooks::states(&context, &caller, &status.groups),
        engine: EngineState::shown(status, &caller),
    }))
}

/// What is going on, as much of it as the caller may see.
#[derive(Serialize, JsonSchema)]
struct Status {
    server: ServerStatus,
    webhooks: Vec<EndpointState>,
    engine: EngineState,
}

/// The server itself.
#[derive(Serialize, JsonSchema)]
struct ServerStatus {
    version: &'static str,
    address: String,
    /// Who can reach it: `loopback` is processes of this machine, `network` those with credentials over
    /// TLS, `everyone` is whom `insecure_let_everyone_in` lets in.
    exposure: &'static str,
    tls: bool,
    /// Without it, everyone who reaches the server is its owner.
    authentication: bool,
    /// When certificates, tokens and permissions were read last, if that was after the start.
    #[schemars(with = "Option<Time>")]
    reloaded: Option<Timestamp>,
    /// Why newer ones are not in force.
    reload_problem: Option<String>,
    /// Who signs the credentials of callers, for admins.
    issuers: Vec<IssuerState>,
    uptime_seconds: u64,
    is_stopping: bool,
}

impl ServerStatus {
    /// As much of it as the caller may see.
    fn shown(context: &Context, caller: &Caller) -> Self {
        let exposure = context.security().exposure();
        let reload = context.security().last_reload();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            address: context.address().to_string(),
            exposure: exposure.reach,
            tls: exposure.has_tls,
            authentication: exposure.has_authentication,
            reloaded: reload.at,
            // It names files.
            reload_problem: reload.problem.filter(|_| caller.is_admin()),
            issuers: issuers(context, caller),
            uptime_seconds: context.started().elapsed().as_secs(),
            is_stopping: context.is_leaving(),
        }
    }
}

/// An issuer whose keys are fetched.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Issuer")]
struct IssuerState {
    issuer: String,
    /// How many keys of it there are, once they were fetched.
    keys: Option<usize>,
    #[schemars(with = "Option<Time>")]
    fetched: Option<Timestamp>,
    /// Why newer ones could not be fetched: those from before stay in force.
    problem: Option<String>,
}

impl From<ProviderState> for IssuerState {
    fn from(state: ProviderState) -> Self {
        Self {
            issuer: state.issuer,
            keys: state.keys,
            fetched: state.fetched,
            problem: state.problem,
        }
    }
}

fn issuers(context: &Context, caller: &Caller) -> Vec<IssuerState> {
    if !caller.is_admin() {
        return Vec::new();
    }
    let issuers = context.security().providers().into_iter();
    issuers.map(IssuerState::from).collect()
}

/// The engine.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Engine")]
struct EngineState {
    /// For admins.
    url: Option<String>,
    /// Why it does not work, if it does not.
    trouble: Option<String>,
    /// What an acknowledgement means: `sync` or `os`.
    durability: String,
    #[schemars(with = "CursorText")]
    first: Cursor,
    #[schemars(with = "CursorText")]
    end: Cursor,
    /// On disk, if the engine knows.
    bytes: Option<u64>,
    /// For admins.
    needed: Option<NeededState>,
    /// How many replies to requests the log holds.
    replies: u64,
    /// For admins, as they are of all topics.
    scheduled: Option<usize>,
    #[schemars(with = "Option<Time>")]
    next_due: Option<Timestamp>,
    guarantees: Promises,
    topics: Vec<TopicState>,
    groups: Vec<GroupState>,
}

impl EngineState {
    /// As much of it as the caller may see.
    fn shown(status: EngineStatus, caller: &Caller) -> Self {
        let topics = status.topics.into_iter();
        let topics = topics.filter(|topic| caller.sees_topic(&topic.name));
        let groups = status.groups.into_iter();
        let groups = groups.filter(|group| caller.sees(group));
        // Both name what others may not know of: directories, groups, events.
        let is_admin = caller.is_admin();
        let (url, needed) = if is_admin {
            (Some(status.url), status.needed)
        } else {
            (None, None)
        };
        Self {
            url,
            trouble: status.trouble,
            durability: status.durability,
            first: status.first,
            end: status.end,
            bytes: status.bytes,
            needed: needed.map(NeededState::from),
            replies: status.replies,
            scheduled: is_admin.then_some(status.scheduled),
            next_due: status.next_due.filter(|_| is_admin),
            guarantees: (&status.guarantees).into(),
            topics: topics.map(TopicState::from).collect(),
            groups: groups.map(|it| GroupState::shown(it, caller)).collect(),
        }
    }
}

/// What keeps retention from removing events.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Needed")]
struct NeededState {
    position: Place,
    by: String,
}

impl From<Needed> for NeededState {
    fn from(needed: Needed) -> Self {
        Self {
            position: Place(needed.position),
            by: needed.by,
        }
    }
}

/// What the engine promises.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Guarantees")]
struct Promises {
    durable_on_acknowledge: bool,
    survives_restart: bool,
    #[schemars(schema_with = "atomicities")]
    commit: Atomicity,
    dedup_events: Option<u64>,
    dedup_seconds: Option<u64>,
    conditional_append: bool,
    schedules: bool,
    replay: bool,
    multi_process: bool,
    failover_seconds: u64,
}

fn atomicities(_: &mut SchemaGenerator) -> Schema {
    one_of(&[Atomicity::Atomic, Atomicity::EffectsFirst])
}

impl From<&Guarantees> for Promises {
    fn from(promised: &Guarantees) -> Self {
        let (dedup_events, dedup_seconds) = match promised.dedup {
            DedupWindow::Events(events) => (Some(events), None),
            DedupWindow::Time(time) => (None, Some(time.as_secs())),
        };
        Self {
            durable_on_acknowledge: promised.durable_on_acknowledge,
            survives_restart: promised.survives_restart,
            commit: promised.commit,
            dedup_events,
            dedup_seconds,
            conditional_append: promised.conditional_append,
            schedules: promised.schedules,
            replay: promised.replay,
            multi_process: promised.multi_process,
            failover_seconds: promised.failover.as_secs(),
        }
    }
}

/// A topic.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Topic")]
struct TopicState {
    name: String,
    events: u64,
    first: Place,
    last: Place,
}

impl From<TopicStatus> for TopicState {
    fn from(topic: TopicStatus) -> Self {
        Self {
            name: topic.name,
            events: topic.events,
            first: Place(topic.first),
            last: Place(topic.last),
        }
    }
}

/// A group, as clients see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Group")]
pub(super) struct GroupState {
    name: String,
    topics: Vec<String>,
    /// The place before which everything is settled, parked or dead.
    #[schemars(with = "CursorText")]
    position: Cursor,
    /// How many events its members could take up now and have not.
    lag: u64,
    /// How many events its members hold.
    in_flight: usize,
    /// How many events wait for another attempt.
    retrying: usize,
    /// How many events wait behind a blocked key.
    parked: usize,
    /// How many dead letters it has.
    dead: usize,
    #[schemars(with = "Option<Time>")]
    next_due: Option<Timestamp>,
    /// Why it takes no further events, if it does not.
    paused: Option<String>,
    /// Why some of its keys are stopped, other than by their own failures.
    trouble: Option<String>,
    /// Why what its members did is not committed at present, if it is not.
    refused: Option<String>,
    /// Up to where events are handled again since the group was reset, their effects held back.
    #[schemars(with = "Option<CursorText>")]
    held_back_until: Option<Cursor>,
    /// The longest backlogs of its keys, for those who may see keys.
    backlogs: Vec<BacklogState>,
    members: Vec<MemberState>,
}

impl GroupState {
    /// As much of a group as the caller may see.
    pub(super) fn shown(group: GroupStatus, caller: &Caller) -> Self {
        // Keys may be personal.
        let may_see_keys = caller.handles(&group);
        let backlogs = group.backlogs.into_iter().filter(|_| may_see_keys);
        Self {
            name: group.name,
            topics: group.topics,
            position: group.position,
            lag: group.lag,
            in_flight: group.in_flight,
            retrying: group.retrying,
            parked: group.parked,
            dead: group.dead,
            next_due: group.next_due,
            paused: group.paused,
            trouble: group.trouble,
            refused: group.refused,
            held_back_until: group.held_back_until,
            backlogs: backlogs.map(BacklogState::from).collect(),
            members: group.members.into_iter().map(MemberState::from).collect(),
        }
    }
}

/// A key whose events wait in the log alone, from a position on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyBacklog")]
struct BacklogState {
    topic: String,
    key: String,
    events: u64,
    from: Place,
}

impl From<KeyBacklog> for BacklogState {
    fn from(backlog: KeyBacklog) -> Self {
        Self {
            topic: backlog.topic,
            key: backlog.key,
            events: backlog.events,
            from: Place(backlog.from),
        }
    }
}

/// A member of a group.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Member")]
struct MemberState {
    id: u64,
    in_flight: usize,
}

impl From<MemberStatus> for MemberState {
    fn from(member: MemberStatus) -> Self {
        Self {
            id: member.id,
            in_flight: member.in_flight,
        }
    }
}
