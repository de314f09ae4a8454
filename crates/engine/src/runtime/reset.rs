//! Where a group starts, and moving one: what that means is told before it happens.

use std::sync::Arc;

use ensue_log as log;

use super::lag;
use crate::delivery::filter::Filter;
use crate::engine::{Position, ReplayState, Reset, ResetPlan, Start};
use crate::error::{Error, GroupError, ReadError, Result};
use crate::log_error;
use crate::log_position::from_log;
use crate::model::change::Change;
use crate::model::group::Group;
use crate::model::position_set::PositionSet;
use crate::model::record;
use crate::model::state::State;
use crate::runtime::admin;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::lookup::blocking;
use crate::time::Timestamp;

/// The position that `start` means at `now`. Blocks on the disk for a time.
///
/// Nothing is taken for something near it: a position that the log does not have, or a time that
/// has not come, would have its group wait for ever and look healthy.
pub(crate) fn resolve(view: &log::View, now: Timestamp, start: Start) -> Result<Position> {
    let (first, end) = (from_log(view.first()), from_log(view.durable()));
    match start {
        Start::Earliest => Ok(first),
        Start::Latest => Ok(end),
        Start::Cursor(cursor) => {
            let position = cursor.position();
            check(view, position)?;
            Ok(position)
        }
        Start::Time(at) => {
            let found = view
                .position_at(at.as_micros())
                .map_err(log_error::of_log)?;
            // Another process's clock may be ahead of this one: what is there counts.
            if from_log(found) >= end && at > now {
                return Err(Error::Read(ReadError::InTheFuture { at, now }));
            }
            Ok(from_log(found))
        }
    }
}

/// Whether the log has this position, or has it next.
pub(crate) fn check(view: &log::View, position: Position) -> Result<()> {
    let first = from_log(view.first());
    let end = from_log(view.durable());
    if position > end {
        return Err(Error::Read(ReadError::BeyondEnd { position, end }));
    }
    if position < first {
        return Err(Error::Read(ReadError::Trimmed { position, first }));
    }
    Ok(())
}

/// A plan whose events are not counted yet: that reads the log.
pub(crate) struct Draft {
    plan: ResetPlan,
    filter: Arc<Filter>,
    again: Vec<(Position, Position)>,
    skipped: Vec<(Position, Position)>,
}

impl Draft {
    /// Of moving the group `name` to the position `to`.
    pub(crate) fn of(state: &State, name: &str, reset: Reset, to: Position) -> Result<Self> {
        let group = admin::existing(state, name)?;
        let is_back = to <= group.low();
        let ahead = |position: Position| position >= to;
        let dead = group.set_aside().dead_letters();
        let dead_again = dead.filter(|(position, ..)| ahead(*position)).count();
        let waiting = group.set_aside().waiting();
        let dropped = if is_back {
            0
        } else {
            let backlogs = group.set_aside().backlogs().events() as usize;
            waiting.filter(|position| !ahead(*position)).count() + backlogs
        };
        let plan = ResetPlan {
            group: name.to_owned(),
            from: group.low().into(),
            to: to.into(),
            again: 0,
            skipped: 0,
            dropped,
            dead_again,
            dead_kept: group.set_aside().dead() - dead_again,
            cells: group.cells().len(),
            effects: reset.effects,
            state: reset.state,
            scheduled: state.schedules().len(),
        };
        Ok(Self {
            plan,
            filter: Arc::new(Filter::of(group)),
            again: from(&group.done(), to),
            skipped: lag::unsettled(group, to),
        })
    }

    /// The plan. Blocks.
    pub(crate) fn count(self, view: &log::View) -> Result<ResetPlan> {
        let mut plan = self.plan;
        // What retention has removed cannot be handled again, and `to` is after that.
        plan.again = lag::wanted(view, &self.again, &self.filter)?;
        plan.skipped = lag::wanted(view, &self.skipped, &self.filter)?;
        let matters = plan.cells > 0 && plan.again > 0;
        plan.state = plan.state.or((!matters).then_some(ReplayState::Keep));
        Ok(plan)
    }
}

/// What of `ranges` is at `to` and after.
fn from(ranges: &PositionSet, to: Position) -> Vec<(Position, Position)> {
    let ahead = ranges.iter().map(|(start, end)| (start.max(to), end));
    ahead.filter(|(start, end)| start < end).collect()
}

/// The position that `start` means now.
async fn resolve_now(inner: &EngineInner, start: Start) -> Result<Position> {
    let (view, now) = (inner.view().clone(), inner.now());
    blocking(move || resolve(&view, now, start)).await
}

/// Where the group `name` starts if it is new, or is.
pub(crate) async fn start_of(inner: &EngineInner, name: &str, start: Start) -> Result<Position> {
    let known = {
        let locked = inner.advanced();
        let end = inner.end();
        let group = locked.state().groups().get(name);
        group.map(|group| check_reachable(name, group, end).map(|()| group.low()))
    };
    let known = known.transpose()?;
    match (resolve_now(inner, start).await, known) {
        (Ok(start), _) => Ok(start),
        // Where a new group would have started does not matter any more.
        (Err(_), Some(low)) => Ok(low),
        (Err(error), None) => Err(error),
    }
}

/// See [`Driver::plan_reset`](crate::engine::Driver::plan_reset).
pub(crate) async fn plan(inner: &EngineInner, name: &str, reset: Reset) -> Result<ResetPlan> {
    admin::existing(inner.locked().state(), name)?;
    let to = resolve_now(inner, reset.to.clone()).await?;
    let draft = {
        let locked = inner.advanced();
        Draft::of(locked.state(), name, reset, to)?
    };
    let view = inner.view().clone();
    blocking(move || draft.count(&view)).await
}

/// See [`Driver::reset`](crate::engine::Driver::reset).
pub(crate) async fn reset(inner: &Arc<EngineInner>, name: &str, reset: Reset) -> Result<ResetPlan> {
    inner.check_open()?;
    let _turn = inner.admin_turn().await;
    let plan = plan(inner, name, reset).await?;
    let Some(state) = plan.state else {
        return Err(Error::Group(GroupError::StateUndecided {
            group: name.to_owned(),
            cells: plan.cells,
            again: plan.again,
            to: plan.to.position(),
        }));
    };
    // Nothing that is committed from here on may undo the move.
    inner.locked().fence(name);
    inner
        .record(vec![Change::Reset(record::Reset {
            group: name.to_owned(),
            to: plan.to.position(),
            at: inner.now(),
            effects: plan.effects,
            state,
        })])
        .await?;
    tracing::info!(
        group = name, from = %plan.from, to = %plan.to, again = plan.again,
        effects = ?plan.effects, ?state, "moved a group"
    );
    Ok(plan)
}

/// Whether anything can ever reach the group.
pub(crate) fn check_reachable(name: &str, group: &Group, end: Position) -> Result<()> {
    if !group.is_beyond(end) {
        return Ok(());
    }
    Err(Error::Group(GroupError::BeyondEnd {
        group: name.to_owned(),
        position: group.low(),
        end,
    }))
}
