//! Effects that a commit did not append, because another event has their id.
//!
//! That is how a cause that is handled again has its effects once. Of two different causes it is
//! most likely a mistake, an id that was meant as a name: it is counted, and said.

use ensue_log as log;

use super::query;
use crate::engine::{Effect, Position, Query};
use crate::error::Result;
use crate::event::Envelope;
use crate::runtime::lookup;
use crate::topic::TopicPattern;

/// So many effects of one commit are looked at: what they collided with is read for it.
const LOOKED_AT_MAX: usize = 16;

/// How many of these effects have the id of an event that follows from something else.
pub(crate) async fn count(
    view: &log::View,
    effects: &[Effect],
    duplicates: Vec<(usize, Position)>,
) -> usize {
    let appends: Vec<&Envelope> = effects
        .iter()
        .filter_map(|effect| Some(&effect.append()?.envelope))
        .collect();
    let chosen = duplicates.into_iter().filter_map(|(index, position)| {
        let envelope = appends.get(index)?;
        // One that was derived from its cause cannot have another's.
        (!envelope.has_effect_id()).then_some((*envelope, position))
    });
    let mut dropped = 0;
    for (envelope, position) in chosen.take(LOOKED_AT_MAX) {
        // One that cannot be read any more is not known to be the same.
        let first = event_at(view, position).await.ok().flatten();
        let is_same = first.is_some_and(|first| first.causation() == envelope.causation());
        dropped += usize::from(!is_same);
    }
    dropped
}

/// The event at a position, or the one that is scheduled there.
async fn event_at(view: &log::View, position: Position) -> Result<Option<Envelope>> {
    let page = query::read(
        view,
        Query {
            topics: Some(TopicPattern::all()),
            from: position.into(),
            until: Some(position.next().into()),
            ..Query::default()
        },
    );
    if let Some(recorded) = page.await?.events.pop() {
        return Ok(Some(recorded.envelope));
    }
    let scheduled = lookup::scheduled(view, vec![position]).await?.pop();
    scheduled.map(|(_, it)| it.envelope()).transpose()
}
