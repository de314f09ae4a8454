//! The state from the log: its checkpoint, and the control records after that.

use std::sync::Arc;

use ensue_log as log;

use crate::engine::Position;
use crate::error::Result;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::record::CONTROL;
use crate::model::state::State;

/// The state as of the durable end of what `view` shows, that position, and the size of the checkpoint
/// that it came from. Blocks.
pub(crate) fn load(view: &log::View) -> Result<(State, Position, usize)> {
    let (mut state, from, bytes) = match view.checkpoint().map_err(log_error::of_log)? {
        Some((at, bytes)) => (State::decode(&bytes)?, from_log(at), bytes.len()),
        None => (State::default(), from_log(view.first()), 0),
    };
    let to = catch_up(&mut state, view, from)?;
    Ok((state, to, bytes))
}

/// Applies the control records from `from` to the durable end of what `view` shows; gives that
/// position. Blocks.
pub(crate) fn catch_up(state: &mut State, view: &log::View, from: Position) -> Result<Position> {
    let to = view.durable();
    let mut scan = view.scan(log::Query {
        from: to_log(from).max(view.first()),
        to: Some(to),
        topics: Some(Arc::new(|topic| topic.starts_with(CONTROL))),
        ..log::Query::default()
    });
    while let Some(chunk) = scan.next_chunk().map_err(log_error::of_log)? {
        state.apply_chunk(&chunk)?;
    }
    Ok(from_log(to))
}
