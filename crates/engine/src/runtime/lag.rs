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

/// How many events are read for a group's lag, to leave out types that it does not want; what is
/// beyond that counts whatever its type.
pub(super) const LAG_READ_EVENTS_MAX: u64 = 1_048_576;

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

/// How many events in `ranges` a filter wants. Blocks.
pub(crate) fn wanted(
    view: &log::View,
    ranges: Vec<(Position, Position)>,
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
pub(super) fn wanted_in(
    view: &log::View,
    (from, to): (Position, Position),
    filter: &Arc<Filter>,
    reads: &mut u64,
) -> Result<u64> {
    let wants = filter.clone();
    let wanted: Arc<dyn Fn(&str) -> bool + Send + Sync> =
        Arc::new(move |topic| wants.wants_topic(topic));
    let positions = (to_log(from), to_log(to));
    let most = view
        .count(positions.0, positions.1, record::EVENT, &*wanted)
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
