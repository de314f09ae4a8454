//! What is going on, put together from the state, the live groups and the log's index.

use std::sync::Arc;

use ensue_log as log;

use super::reset;
use crate::delivery::filter::Filter;
use crate::delivery::group_session::GroupSession;
use crate::delivery::local_member::LocalMember;
use crate::engine::{EngineStatus, GroupStatus, KeyBacklog, MemberStatus, Position, TopicStatus};
use crate::error::Result;
use crate::log_error;
use crate::model::group::Group;
use crate::model::processes::{Process, Processes};
use crate::model::record;
use crate::model::state::State;
use crate::model::topic_key::TopicKey;
use crate::runtime::engine_inner::Shared;
use crate::topic;

/// How many events are read for a group's lag, to leave out types that it does not want; what is
/// beyond that counts whatever its type.
const LAG_READ_EVENTS_MAX: u64 = 1_048_576;

/// How many backlogs of a group's keys are shown, the longest first.
const BACKLOGS_SHOWN_MAX: usize = 16;

/// A group's status, and the ranges that it has not taken up yet.
struct Counted {
    status: GroupStatus,
    filter: Arc<Filter>,
    ahead: Vec<(u64, u64)>,
    /// Whether members in other processes have passed over events there that nothing in the log
    /// says they have: of types that the group does not want.
    has_unwanted: bool,
}

/// The status of an engine that owns its log. Blocks.
pub(crate) fn of_engine(shared: &Shared) -> Result<EngineStatus> {
    let (log, groups, scheduled, next_due, unfired, needed) = {
        let mut core = shared.core();
        core.advance();
        // The end after the state: what a commit settled is counted together with what follows
        // from it, or a group would look idle for a moment that never was.
        let log = shared.log.status();
        let end = log.durable.get();
        let now = core.clock.now().as_micros();
        let is_silent = |process: &Process| is_silent(shared, process, now);
        let groups: Vec<Counted> = core
            .state
            .groups
            .iter()
            .map(|(name, group)| {
                let live = core.sessions.get(name);
                let mut counted = count(name, group, live, &core.state.processes, end, &is_silent);
                counted.status.refused = shared.refusals.of(name);
                counted
            })
            .collect();
        (
            log,
            groups,
            core.state.schedules.len(),
            core.state.schedules.next_due(),
            core.unfired.trouble(&core.state.schedules),
            core.state.needed(end),
        )
    };
    let (topics, replies) = topics(&shared.view)?;
    Ok(EngineStatus {
        url: shared.settings.url.clone(),
        trouble: trouble(shared, log.poisoned).or(unfired),
        durability: durability(durability_of(shared, log.durability)).to_owned(),
        first: Position::new(log.first.get()),
        end: Position::new(log.durable.get()),
        bytes: Some(log.disk_bytes),
        needed,
        topics,
        replies,
        groups: with_lag(&shared.view, groups)?,
        scheduled,
        next_due,
        guarantees: shared.guarantees,
    })
}

/// What is acknowledged is as durable as the server makes it: the copy can be made anew.
fn durability_of(shared: &Shared, own: log::Durability) -> log::Durability {
    match shared
        .replica
        .as_ref()
        .map(crate::replica::Replica::is_durable)
    {
        None => own,
        Some(true) => log::Durability::Sync,
        Some(false) => log::Durability::Os,
    }
}

/// Why the engine does not work: its own log, or the server.
fn trouble(shared: &Shared, poisoned: Option<String>) -> Option<String> {
    let replica = shared.replica.as_ref();
    poisoned.or_else(|| replica.and_then(crate::replica::Replica::trouble))
}

/// Whether a process has not been heard of for its lease: it is not shown as a member any more,
/// also while nobody has said in the log that it is gone.
fn is_silent(shared: &Shared, process: &Process, now: i64) -> bool {
    let replica = shared.replica.as_ref();
    replica.is_some_and(|replica| replica.is_silent(process, now))
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
        first: Position::new(it.first.get()),
        last: Position::new(it.last.get()),
    };
    Ok((users.into_iter().map(status).collect(), replies))
}

/// The groups of a state that nobody works on in this process. Blocks.
pub(crate) fn of_state(state: &State, view: &log::View) -> Result<Vec<GroupStatus>> {
    let end = view.durable().get();
    let groups = state
        .groups
        .iter()
        .map(|(name, group)| count(name, group, None, &state.processes, end, &|_| false))
        .collect();
    with_lag(view, groups)
}

fn count(
    name: &str,
    group: &Group,
    live: Option<&GroupSession>,
    processes: &Processes,
    end: u64,
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
        position: Position::new(group.low()),
        lag: (ready + free) as u64,
        in_flight: live.map_or(0, GroupSession::held),
        retrying: group.set_aside().retrying(),
        parked: group.set_aside().parked() + blocked,
        dead: group.set_aside().dead(),
        next_due,
        paused: unreachable.or_else(|| live.and_then(|live| live.paused().map(str::to_owned))),
        trouble: trouble_of(group),
        refused: None,
        held_back_until: group.runs().held_back_until(),
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
            let mut ahead = ahead(group, live.after_last_event().max(group.low()));
            ahead.push((live.cursor().max(group.low()), end));
            ahead
        }
        None => ahead(group, end),
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
pub(crate) fn accounted(group: &Group, live: Option<&GroupSession>, end: u64) -> u64 {
    let counted = count("g", group, live, &Processes::default(), end, &|_| false);
    let GroupStatus {
        lag,
        in_flight,
        retrying,
        parked,
        dead,
        ..
    } = counted.status;
    let ahead: u64 = counted.ahead.iter().map(|(from, to)| to - from).sum();
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
    let shown = |(events, from, lane): (u64, u64, &TopicKey)| KeyBacklog {
        topic: lane.topic().to_owned(),
        key: lane.key().to_owned(),
        events,
        from: Position::new(from),
    };
    all.into_iter().map(shown).collect()
}

/// What a group has not settled before `end`.
pub(crate) fn ahead(group: &Group, end: u64) -> Vec<(u64, u64)> {
    let mut from = group.low();
    let mut gaps = Vec::new();
    for (start, stop) in group.settled().iter() {
        gaps.push((from, start.min(end)));
        from = stop;
    }
    gaps.push((from, end));
    gaps.retain(|(from, to)| from < to);
    gaps
}

fn with_lag(view: &log::View, groups: Vec<Counted>) -> Result<Vec<GroupStatus>> {
    let mut done = Vec::with_capacity(groups.len());
    for Counted {
        mut status,
        filter,
        ahead,
        has_unwanted,
    } in groups
    {
        let mut reads = match has_unwanted {
            true => LAG_READ_EVENTS_MAX,
            false => 0,
        };
        for (from, to) in ahead.into_iter().filter(|(from, to)| from < to) {
            status.lag += wanted_in(view, (from, to), &filter, &mut reads)?;
        }
        done.push(status);
    }
    Ok(done)
}

/// How many events in `ranges` a filter wants. Blocks.
pub(crate) fn wanted(
    view: &log::View,
    ranges: Vec<(u64, u64)>,
    filter: &Arc<Filter>,
) -> Result<u64> {
    let mut reads = LAG_READ_EVENTS_MAX;
    let mut count = 0;
    for range in ranges {
        count += wanted_in(view, range, filter, &mut reads)?;
    }
    Ok(count)
}

/// How many events in `from..to` a filter wants: by their topics, and by their types while there
/// are reads left.
fn wanted_in(
    view: &log::View,
    (from, to): (u64, u64),
    filter: &Arc<Filter>,
    reads: &mut u64,
) -> Result<u64> {
    let wants = filter.clone();
    let wanted: Arc<dyn Fn(&str) -> bool + Send + Sync> =
        Arc::new(move |topic| wants.wants_topic(topic));
    let positions = (log::Position::new(from), log::Position::new(to));
    let most = view
        .count(positions.0, positions.1, record::EVENT, &wanted)
        .map_err(log_error::of_log)?;
    if most > *reads || most == 0 || !filter.has_types() {
        return Ok(most);
    }
    *reads -= most;
    let mut scan = view.scan(log::Query {
        from: positions.0,
        to: Some(positions.1),
        key: None,
        topics: Some(wanted),
        kinds: Some(vec![record::EVENT]),
        since: None,
        until: None,
    });
    let mut count = 0;
    while let Some(chunk) = scan.next_chunk().map_err(log_error::of_log)? {
        for entry in chunk.iter() {
            let is_there = (from..to).contains(&entry.position.get());
            let is_event = entry.kind == record::EVENT && filter.wants_topic(entry.topic);
            if is_there && is_event && filter.wants_type(record::envelope_of(&entry)?.kind()) {
                count += 1;
            }
        }
    }
    Ok(count)
}
