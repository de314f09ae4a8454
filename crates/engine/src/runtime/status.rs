//! What is going on, put together from the state, the live groups and the log's index.

use std::sync::Arc;

use ensue_log as log;

use super::lag;
use super::locked_state::LockedState;
use super::{admin, reset};
use crate::delivery::filter::Filter;
use crate::delivery::group_session::GroupSession;
use crate::delivery::local_member::LocalMember;
use crate::engine::{
    Cursor, EngineStatus, GroupStatus, Health, KeyBacklog, MemberStatus, Needed, Position,
    TopicStatus,
};
use crate::error::{Error, GroupError, Result};
use crate::log_error;
use crate::log_position::from_log;
use crate::model::group::Group;
use crate::model::processes::{Process, Processes};
use crate::model::record;
use crate::model::state::{Holder, State};
use crate::model::topic_key::TopicKey;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::upstream::Upstream;
use crate::topic;

/// How many backlogs of a group's keys are shown, the longest first.
const BACKLOGS_SHOWN_MAX: usize = 16;

/// How many events a status reads at the most, for all its groups together: see [`GroupStatus::lag`].
const STATUS_READ_EVENTS_MAX: u64 = 65_536;

/// A group's status, and the ranges that it has not taken up yet.
struct Counted {
    status: GroupStatus,
    filter: Arc<Filter>,
    ahead: Vec<(Position, Position)>,
    /// Whether members in other processes have passed over events there that nothing in the log
    /// says they have: of types that the group does not want.
    has_unwanted: bool,
}

/// The status of an engine that owns its log. Blocks.
pub(crate) fn of_engine(inner: &EngineInner) -> Result<EngineStatus> {
    let (log, groups, scheduled, next_due, unfired, holders) = {
        let locked = inner.advanced();
        // The end after the state: what a commit settled is counted together with what follows
        // from it, or a group would look idle for a moment that never was.
        let log = inner.log().status();
        let end = from_log(log.durable);
        let state = locked.state();
        let groups = state.groups().iter();
        let groups: Vec<Counted> = groups
            .map(|(name, group)| count_here(inner, &locked, (name, group), end))
            .collect();
        (
            log,
            groups,
            state.schedules().len(),
            state.schedules().next_due(),
            locked.schedules_trouble(),
            state.holders(end),
        )
    };
    let (topics, replies) = topics(inner.view())?;
    let groups = with_lag(inner.view(), groups)?;
    Ok(EngineStatus {
        url: inner.settings().url.clone(),
        trouble: trouble(inner, log.poisoned).or(unfired),
        durability: durability(durability_of(inner, log.durability)).to_owned(),
        first: from_log(log.first).into(),
        end: from_log(log.durable).into(),
        bytes: Some(log.disk_bytes),
        needed: needed(holders, &groups),
        topics,
        replies,
        groups,
        scheduled,
        next_due,
        guarantees: *inner.guarantees(),
    })
}

/// Whether an engine that owns its log works, and where its log begins and ends.
pub(crate) fn health(inner: &EngineInner) -> Health {
    let unfired = inner.advanced().schedules_trouble();
    Health {
        trouble: trouble(inner, inner.log().poisoned()).or(unfired),
        first: from_log(inner.log().first()).into(),
        end: inner.end().into(),
    }
}

/// One group of an engine that owns its log. Blocks.
pub(crate) fn group_of_engine(inner: &EngineInner, name: &str) -> Result<GroupStatus> {
    let counted = {
        let locked = inner.advanced();
        let group = admin::existing(locked.state(), name)?;
        count_here(inner, &locked, (name, group), inner.end())
    };
    only(with_lag(inner.view(), vec![counted])?, name)
}

fn only(groups: Vec<GroupStatus>, name: &str) -> Result<GroupStatus> {
    let group = groups.into_iter().next();
    group.ok_or_else(|| Error::Group(GroupError::unknown(name, [])))
}

/// The oldest event that is needed. A group with members that has nothing to do needs none: the next
/// checkpoint moves it past what is not for it.
pub(crate) fn needed(holders: Vec<(Position, Holder)>, groups: &[GroupStatus]) -> Option<Needed> {
    holders.into_iter().find_map(|(position, holder)| {
        let by = match holder {
            Holder::Schedule(name) => format!("the scheduled event {name}"),
            Holder::Group { name, put_aside } => {
                let status = groups.iter().find(|group| group.name == name);
                let is_idle = status.is_some_and(|it| it.lag == 0 && it.in_flight == 0);
                let has_members = status.is_some_and(|it| !it.members.is_empty());
                let why = match put_aside {
                    Some(why) => why,
                    None if !is_idle => "an event that is not handled yet",
                    None if has_members => return None,
                    None => "it has no members that would pass what is not for it",
                };
                format!("group `{name}`: {why}")
            }
        };
        Some(Needed { position, by })
    })
}

/// What is acknowledged is as durable as the server makes it: the copy can be made again.
fn durability_of(inner: &EngineInner, own: log::Durability) -> log::Durability {
    match inner.upstream().map(Upstream::is_durable) {
        None => own,
        Some(true) => log::Durability::Sync,
        Some(false) => log::Durability::Os,
    }
}

/// Why the engine does not work: its own log, or the server.
fn trouble(inner: &EngineInner, poisoned: Option<String>) -> Option<String> {
    poisoned.or_else(|| inner.upstream()?.trouble())
}

/// Whether a process has not been heard of for its lease: it is not shown as a member any more,
/// also while the log does not say yet that it is gone.
fn is_silent(inner: &EngineInner, process: &Process, now: i64) -> bool {
    let upstream = inner.upstream();
    upstream.is_some_and(|upstream| upstream.is_silent(process, now))
}

pub(crate) fn durability(durability: log::Durability) -> &'static str {
    match durability {
        log::Durability::Sync => "sync",
        log::Durability::Os => "os",
    }
}

/// The users' topics, and how many replies to requests there are beside them. Blocks.
pub(crate) fn topics(view: &log::View) -> Result<(Vec<TopicStatus>, u64)> {
    let all = view.topics().map_err(log_error::of_log)?;
    let events = all.into_iter().filter(|it| it.kind == record::EVENT);
    let (reserved, users): (Vec<_>, Vec<_>) = events.partition(|it| topic::is_reserved(&it.name));
    let replies = reserved
        .iter()
        .filter(|it| it.name.starts_with(topic::REPLIES));
    let replies = replies.map(|it| it.records).sum();
    let status = |it: log::Topic| TopicStatus {
        name: it.name,
        events: it.records,
        first: from_log(it.first),
        last: from_log(it.last),
    };
    Ok((users.into_iter().map(status).collect(), replies))
}

/// The groups of a state that have no members in this process. Blocks.
pub(crate) fn of_state(state: &State, view: &log::View) -> Result<Vec<GroupStatus>> {
    let end = from_log(view.durable());
    let groups = state
        .groups()
        .iter()
        .map(|(name, group)| count(name, group, None, state.processes(), end, &|_| false))
        .collect();
    with_lag(view, groups)
}

/// One of them. Blocks.
pub(crate) fn group_of_state(state: &State, view: &log::View, name: &str) -> Result<GroupStatus> {
    let (group, end) = (admin::existing(state, name)?, from_log(view.durable()));
    let counted = count(name, group, None, state.processes(), end, &|_| false);
    only(with_lag(view, vec![counted])?, name)
}

/// A group of an engine that owns its log.
fn count_here(
    inner: &EngineInner,
    locked: &LockedState,
    (name, group): (&str, &Group),
    end: Position,
) -> Counted {
    let now = locked.now().as_micros();
    let is_silent = |process: &Process| is_silent(inner, process, now);
    let processes = locked.state().processes();
    let session = locked.session(name);
    let mut counted = count(name, group, session, processes, end, &is_silent);
    counted.status.refused = inner.refusals().of(name);
    counted
}

fn count(
    name: &str,
    group: &Group,
    live: Option<&GroupSession>,
    processes: &Processes,
    end: Position,
    is_silent: &dyn Fn(&Process) -> bool,
) -> Counted {
    let member = |member: &LocalMember| MemberStatus {
        id: member.id().get(),
        in_flight: member.held(),
    };
    let next_due = group.set_aside().next_due();
    let unreachable = reset::check_reachable(name, group, end).err();
    let unreachable = unreachable.map(|error| error.to_string());
    let is_out = |position| live.is_some_and(|live| live.is_in_hands(position));
    // Where several share the log, each knows only what it has read for itself.
    let read = live.filter(|_| !processes.is_shared());
    let ready = read.map_or(0, GroupSession::ready) + group.set_aside().ready(is_out);
    // What is just being put aside.
    let (free, blocked) = read.map_or((0, 0), |live| live.coming(group));
    let elsewhere = group.members().iter().filter(|member| {
        let process = processes.get(member.boot);
        process.is_some_and(|process| !is_silent(process))
            && live.is_none_or(|live| !live.knows(member.id))
    });
    let elsewhere = elsewhere.map(|member| MemberStatus {
        id: member.id.get(),
        // Only its own process knows.
        in_flight: 0,
    });
    let status = GroupStatus {
        name: name.to_owned(),
        topics: group.topics().iter().map(ToString::to_string).collect(),
        position: group.low().into(),
        lag: (ready + free) as u64,
        in_flight: live.map_or(0, GroupSession::held),
        retrying: group.set_aside().retrying(),
        parked: group.set_aside().parked() + blocked,
        dead: group.set_aside().dead(),
        blocked: group.set_aside().blocked(),
        next_due,
        paused: unreachable.or_else(|| live.and_then(|live| live.paused().map(str::to_owned))),
        trouble: trouble_of(group),
        refused: None,
        held_back_until: group.runs().held_back_until().map(Cursor::from),
        backlogs: backlogs(group),
        members: live
            .into_iter()
            .flat_map(GroupSession::members)
            .map(member)
            .chain(elsewhere)
            .collect(),
    };
    let filter = match live {
        Some(live) => live.filter().clone(),
        None => Arc::new(Filter::of(group)),
    };
    let ahead = match live {
        Some(live) if !processes.is_shared() => vec![(live.cursor(), end)],
        // Between `from` and the cursor is nothing for this group.
        Some(live) => {
            let mut ahead = lag::unsettled(group, live.after_last_event().max(group.low()));
            ahead.push((live.cursor().max(group.low()), end));
            ahead
        }
        None => lag::unsettled(group, end),
    };
    Counted {
        status,
        filter,
        ahead,
        has_unwanted: read.is_none(),
    }
}

/// For how many events the status of a group accounts whose members all live here; those that a
/// member holds for another attempt twice.
#[cfg(test)]
pub(crate) fn accounted(group: &Group, live: Option<&GroupSession>, end: Position) -> u64 {
    let counted = count("g", group, live, &Processes::default(), end, &|_| false);
    let GroupStatus {
        lag,
        in_flight,
        retrying,
        parked,
        dead,
        ..
    } = counted.status;
    let ahead: u64 = counted.ahead.iter().map(|(from, to)| to.since(*from)).sum();
    lag + ahead + (in_flight + retrying + parked + dead) as u64
}

/// What holds up keys of a group beside their own failures.
fn trouble_of(group: &Group) -> Option<String> {
    let stopped = group.set_aside().stopped();
    (stopped > 0).then(|| {
        format!(
            "{stopped} keys are stopped: their handlers skip dead letters, but as many events as \
             `parked_max` allows are put aside; redrive or discard dead letters"
        )
    })
}

/// The longest backlogs of a group's keys.
fn backlogs(group: &Group) -> Vec<KeyBacklog> {
    let all = group.set_aside().backlogs().iter();
    let mut all: Vec<_> = all
        .map(|(lane, backlog)| (backlog.events, backlog.from, lane))
        .collect();
    all.sort_unstable_by_key(|(events, from, _)| (std::cmp::Reverse(*events), *from));
    all.truncate(BACKLOGS_SHOWN_MAX);
    let shown = |(events, from, lane): (u64, Position, &TopicKey)| KeyBacklog {
        topic: lane.topic().to_owned(),
        key: lane.key().to_owned(),
        events,
        from,
    };
    all.into_iter().map(shown).collect()
}

/// The groups with their lags, in the order given. Blocks.
fn with_lag(view: &log::View, mut groups: Vec<Counted>) -> Result<Vec<GroupStatus>> {
    let mut mixed = Vec::new();
    for (number, group) in groups.iter_mut().enumerate() {
        let ahead = lag::of_topics(view, &group.ahead, &group.filter)?;
        group.status.lag += ahead;
        if ahead > 0 && group.has_unwanted && group.filter.has_types() {
            mixed.push((ahead, number));
        }
    }
    // The shortest first: who has nothing to do must not seem to have, and of a long lag it matters
    // less how long it is.
    mixed.sort_unstable();
    let mut reads = STATUS_READ_EVENTS_MAX;
    for (ahead, number) in mixed {
        let (Some(left), Some(group)) = (reads.checked_sub(ahead), groups.get_mut(number)) else {
            break;
        };
        reads = left;
        let wanted = lag::of_types(view, &group.ahead, &group.filter)?;
        group.status.lag = (group.status.lag + wanted).saturating_sub(ahead);
    }
    Ok(groups.into_iter().map(|group| group.status).collect())
}
