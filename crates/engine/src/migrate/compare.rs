//! Two logs side by side: whether what the target has is what the source has.

use super::events::{Both, Events};
use super::positions::Positions;
use super::progress::{Progress, Step, Tell};
use super::source::Source;
use super::target::Target;
use crate::engine::Position;
use crate::error::{EngineError, Error, MigrateError, Result};
use crate::log_position::from_log;
use crate::runtime::lookup::blocking;

/// How many events are compared before the progress is told.
const TELL_EVENTS: u64 = 4_096;

/// Compares the events that the target has with as many of the source: what both hold, and which
/// position became which.
///
/// # Errors
/// [`MigrateError::Differs`] when the target has an event that the source has not in its place.
pub(super) async fn walk(
    source: &Source,
    target: &Target,
    step: Step,
    total: u64,
    tell: Tell<'_>,
) -> Result<(Both, Positions)> {
    let end = from_log(target.view().durable());
    let mut walk = Walk {
        source: Events::of(&source.view, Position::ZERO, source.end),
        target: Events::of(target.view(), Position::ZERO, end),
        target_url: target.url(),
        source_sum: Both::default(),
        target_sum: Both::default(),
        positions: Positions::wanted_by(&source.state),
    };
    while {
        let begun;
        (walk, begun) = blocking(move || {
            let is_more = walk.some()?;
            Ok((walk, is_more))
        })
        .await?;
        begun
    } {
        tell(Progress {
            step,
            done: walk.source_sum.events,
            total,
        });
    }
    if walk.source_sum.checksum != walk.target_sum.checksum {
        return Err(Error::Engine(EngineError::Corrupt(
            "the checksums of both sides differ, though each event was the same".to_owned(),
        )));
    }
    Ok((walk.source_sum, walk.positions))
}

struct Walk {
    source: Events,
    target: Events,
    target_url: String,
    source_sum: Both,
    target_sum: Both,
    positions: Positions,
}

impl Walk {
    /// Compares some events; whether there may be more.
    fn some(&mut self) -> Result<bool> {
        for _ in 0..TELL_EVENTS {
            let Some(theirs) = self.target.next()? else {
                return Ok(false);
            };
            let ours = self.source.next()?.filter(|ours| ours.is_same(&theirs));
            let Some(ours) = ours else {
                return Err(Error::Migrate(MigrateError::Differs {
                    url: self.target_url.clone(),
                    expected: "the events of the source, in their order",
                    found: format!("its event at position {} is another one", theirs.position),
                }));
            };
            self.positions.met(ours.position, theirs.position);
            self.source_sum.add(&ours);
            self.target_sum.add(&theirs);
        }
        Ok(true)
    }
}
