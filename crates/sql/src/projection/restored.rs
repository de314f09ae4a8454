//! What the group has done with, and the database has not: the database was put back to an older state, or an
//! operator has given the event up.

use ensue::engine::{DeadLetterFilter, Handling, Reset, Start};
use ensue::error::GroupError;
use ensue::{Engine, Position};

use crate::error::Result;

/// Whether the group has done with the event at this position.
pub(super) async fn is_done(engine: &Engine, group: &str, position: i64) -> Result<bool> {
    let position = Position::new(u64::try_from(position).unwrap_or(0));
    let progress = match engine.progress(group, position).await {
        Ok(progress) => progress,
        // It begins at the beginning.
        Err(ensue::Error::Group(GroupError::Unknown { .. })) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if progress.handling != Handling::Done {
        return Ok(false);
    }
    // Over `ensue://` only this tells a dead letter from what is done with.
    let only = DeadLetterFilter {
        positions: vec![position],
        ..DeadLetterFilter::default()
    };
    Ok(engine.dead_letters(Some(group), only).await?.is_empty())
}

/// Moves the group back to the first of these events, in the order of the log, that it has done with and the
/// database has not: nothing else would bring it again.
pub(super) async fn handle_again(engine: &Engine, group: &str, positions: &[i64]) -> Result<()> {
    for &position in positions {
        if is_done(engine, group, position).await? {
            tracing::warn!(
                group,
                position,
                "the database lacks what its group has handled: the group is moved back"
            );
            let position = Position::new(u64::try_from(position).unwrap_or(0));
            let back = Reset::to(Start::Cursor(position.into()));
            engine.reset(group, back).await?;
            return Ok(());
        }
    }
    Ok(())
}
