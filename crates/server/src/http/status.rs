//! `GET /v1/status`: what is going on in the server and in its engine.

use axum::Json;
use axum::extract::State;
use ensue::engine::{
    Atomicity, DedupWindow, EngineStatus, GroupStatus, Guarantees, KeyBacklog, MemberStatus,
    Needed, TopicStatus,
};
use ensue::{Cursor, Timestamp};
use serde::Serialize;

use super::deadline;
use super::place::Place;
use super::route::{Routes, get};
use super::webhooks::{self, EndpointState};
use crate::context::Context;
use crate::problem::Problem;
use crate::security::{Access, Caller, ProviderState};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.add("/v1/status", [get(Access::Known, status)])
}

async fn status(State(context): State<Context>, caller: Caller) -> Result<Json<Status>, Problem> {
    let status = deadline::within(&context, context.engine().status()).await?;
    Ok(Json(Status {
        server: ServerStatus::shown(&context, &caller),
        webhooks: webhooks::states(&context, &caller, &status.groups),
        engine: EngineState::shown(status, &caller),
    }))
}

#[derive(Serialize)]
struct Status {
    server: ServerStatus,
    webhooks: Vec<EndpointState>,
    engine: EngineState,
}

/// The server itself.
#[derive(Serialize)]
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
#[derive(Serialize)]
struct IssuerState {
    issuer: String,
    /// How many keys of it there are, once they were fetched.
    keys: Option<usize>,
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

#[derive(Serialize)]
struct EngineState {
    url: Option<String>,
    trouble: Option<String>,
    durability: String,
    first: Cursor,
    end: Cursor,
    bytes: Option<u64>,
    needed: Option<NeededState>,
    replies: u64,
    /// For admins, as they are of all topics.
    scheduled: Option<usize>,
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

#[derive(Serialize)]
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

#[derive(Serialize)]
struct Promises {
    durable_on_acknowledge: bool,
    survives_restart: bool,
    commit: Atomicity,
    dedup_events: Option<u64>,
    dedup_seconds: Option<u64>,
    conditional_append: bool,
    schedules: bool,
    replay: bool,
    multi_process: bool,
    failover_seconds: u64,
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

#[derive(Serialize)]
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
#[derive(Serialize)]
pub(super) struct GroupState {
    name: String,
    topics: Vec<String>,
    position: Cursor,
    lag: u64,
    in_flight: usize,
    retrying: usize,
    parked: usize,
    dead: usize,
    next_due: Option<Timestamp>,
    paused: Option<String>,
    trouble: Option<String>,
    refused: Option<String>,
    held_back_until: Option<Cursor>,
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

#[derive(Serialize)]
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

#[derive(Serialize)]
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
