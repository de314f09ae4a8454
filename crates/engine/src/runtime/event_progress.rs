//! How far a group is with one event.

use crate::delivery::filter::Filter;
use crate::engine::{EventProgress, Handling, Position};
use crate::error::Result;
use crate::event::Envelope;
use crate::model::group::Group;
use crate::model::topic_key::KeyRef;
use crate::runtime::admin;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::lookup;

/// How far the group `name` is with the event at `position`.
pub(crate) async fn of(
    inner: &EngineInner,
    name: &str,
    position: Position,
) -> Result<EventProgress> {
    let progress = |handling| EventProgress {
        handling,
        end: inner.end().into(),
    };
    if let Some(handling) = on_group(inner, name, |group| at_a_glance(group, position))? {
        return Ok(progress(handling));
    }
    if position >= inner.end() {
        return Ok(progress(Handling::Ahead));
    }
    let mut found = lookup::readable_events(inner.view(), vec![position]).await?;
    let event = found.remove(&position).and_then(Result::ok);
    let handling = on_group(inner, name, |group| look(group, position, event.as_ref()))?;
    Ok(progress(handling))
}

fn on_group<T>(inner: &EngineInner, name: &str, look: impl Fn(&Group) -> T) -> Result<T> {
    let locked = inner.advanced();
    Ok(look(admin::existing(locked.state(), name)?))
}

/// What can be said without the event.
fn at_a_glance(group: &Group, position: Position) -> Option<Handling> {
    if group.set_aside().item(position).is_some() {
        return Some(Handling::PutAside);
    }
    let first = group.set_aside().backlogs().first();
    let is_before_backlogs = first.is_none_or(|first| position < first);
    (group.is_settled(position) && is_before_backlogs).then_some(Handling::Done)
}

fn look(group: &Group, position: Position, event: Option<&Envelope>) -> Handling {
    if let Some(handling) = at_a_glance(group, position) {
        return handling;
    }
    // What is no event, or cannot be read, is behind the group only with its low-water mark.
    let Some(event) = event else {
        return match group.is_settled(position) {
            true => Handling::Done,
            false => Handling::Ahead,
        };
    };
    let filter = Filter::of(group);
    if !filter.wants_topic(event.topic()) || !filter.wants_type(event.event_type()) {
        return Handling::Done;
    }
    let backlog = group
        .set_aside()
        .backlog(KeyRef(event.topic(), event.key()));
    match group.is_settled(position) {
        true if backlog.is_some_and(|backlog| backlog.from <= position) => Handling::PutAside,
        true => Handling::Done,
        false => Handling::Ahead,
    }
}
