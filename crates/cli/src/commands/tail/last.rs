//! Where the last events that match begin.
//!
//! An engine reads forward only: windows before the end are read, each larger than the one before,
//! until one holds enough. What is read in vain is a fraction of the last window.

use std::collections::VecDeque;

use ensue::engine::Driver;
use ensue::engine::Query;
use ensue::error::ReadError;
use ensue::{Cursor, Error, Position};

use crate::failure::Failure;

/// The first window holds at least so many positions: a read of this size costs no more than a
/// smaller one.
const WINDOW_POSITIONS_MIN: u64 = 4_096;
const WINDOW_GROWTH: u64 = 8;

/// The position of the first of the last `count` events that match `query`.
pub(super) async fn start_of_last(
    engine: &dyn Driver,
    query: &Query,
    count: usize,
) -> Result<Position, Failure> {
    let mut health = engine.health().await?;
    let until = query.until.as_ref().map(Cursor::position);
    let end = health.end.position();
    let end = until.map_or(end, |until| until.min(end));
    if count == 0 {
        return Ok(end);
    }
    let mut window = WINDOW_POSITIONS_MIN.max(count as u64);
    loop {
        let from = Position::new(end.get().saturating_sub(window)).max(health.first.position());
        let newest = match last_positions(engine, query, from, end, count).await {
            // Retention was faster: the log begins later than the engine said.
            Err(Error::Read(ReadError::Trimmed { .. })) => {
                health = engine.health().await?;
                continue;
            }
            newest => newest?,
        };
        if newest.len() >= count || from <= health.first.position() {
            return Ok(newest.front().copied().unwrap_or(end));
        }
        window = window.saturating_mul(WINDOW_GROWTH);
    }
}

/// The positions of the last `count` matches from `from` to before `end`.
async fn last_positions(
    engine: &dyn Driver,
    query: &Query,
    from: Position,
    end: Position,
    count: usize,
) -> Result<VecDeque<Position>, Error> {
    let mut newest = VecDeque::new();
    let mut query = Query {
        from: from.into(),
        until: Some(end.into()),
        limit: 0,
        ..query.clone()
    };
    while query.from.position() < end {
        let page = engine.read(query.clone()).await?;
        for event in &page.events {
            if newest.len() == count {
                newest.pop_front();
            }
            newest.push_back(event.position);
        }
        if page.is_end || page.next <= query.from {
            break;
        }
        query.from = page.next;
    }
    Ok(newest)
}
