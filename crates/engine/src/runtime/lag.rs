//! How many events a group has before it: by topic from the index, by type from the log.

use std::sync::Arc;

use ensue_log as log;

use crate::delivery::filter::Filter;
use crate::engine::Position;
use crate::error::Result;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::group::Group;
use crate::model::record;

/// How many events are read for a number of a reset's plan, to leave out types that the group does not
/// want; where there are more, all count whatever their type.
const PLAN_READ_EVENTS_MAX: u64 = 1_048_576;

/// What a group has not settled before `end`.
pub(crate) fn unsettled(group: &Group, end: Position) -> Vec<(Position, Position)> {
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

/// How many events in `ranges` a filter wants, for the plan of a reset. Blocks.
pub(crate) fn wanted(
    view: &log::View,
    ranges: &[(Position, Position)],
    filter: &Arc<Filter>,
) -> Result<u64> {
    let most = of_topics(view, ranges, filter)?;
    if most == 0 || most > PLAN_READ_EVENTS_MAX || !filter.has_types() {
        return Ok(most);
    }
    of_types(view, ranges, filter)
}

/// How many events in `ranges` are of topics that a filter wants: from the index alone. Blocks.
pub(super) fn of_topics(
    view: &log::View,
    ranges: &[(Position, Position)],
    filter: &Filter,
) -> Result<u64> {
    let mut count = 0;
    for (from, to) in ranges {
        let wanted = |topic: &str| filter.wants_topic(topic);
        count += view
            .count(to_log(*from), to_log(*to), record::EVENT, &wanted)
            .map_err(log_error::of_log)?;
    }
    Ok(count)
}

/// How many events in `ranges` are of topics and types that a filter wants: reads those of its topics.
/// Blocks.
pub(super) fn of_types(
    view: &log::View,
    ranges: &[(Position, Position)],
    filter: &Arc<Filter>,
) -> Result<u64> {
    let mut count = 0;
    for range in ranges {
        count += of_types_in(view, *range, filter)?;
    }
    Ok(count)
}

fn of_types_in(
    view: &log::View,
    (from, to): (Position, Position),
    filter: &Arc<Filter>,
) -> Result<u64> {
    let wants = filter.clone();
    let mut scan = view.scan(log::Query {
        from: to_log(from),
        to: Some(to_log(to)),
        topics: Some(Arc::new(move |topic| wants.wants_topic(topic))),
        kinds: Some(vec![record::EVENT]),
        ..log::Query::default()
    });
    let mut count = 0;
    while let Some(chunk) = scan.next_chunk().map_err(log_error::of_log)? {
        for entry in chunk.iter() {
            let is_there = (from..to).contains(&from_log(entry.position));
            let is_event = entry.kind == record::EVENT && filter.wants_topic(entry.topic);
            if is_there && is_event && filter.wants_type(record::envelope_of(&entry)?.event_type())
            {
                count += 1;
            }
        }
    }
    Ok(count)
}
