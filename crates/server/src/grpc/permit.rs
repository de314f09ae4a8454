//! What a caller may do: asked before a topic is touched, or something of it shown.

use ensue::engine::{EngineStatus, GroupStatus, Scheduled};
use ensue::error::GroupError;
use ensue::{Envelope, Error};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Status};

use super::answer;
use crate::context::Context;
use crate::security::{Action, Caller};

/// Who calls. One who came past the door may do nothing.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    let caller = caller.ok_or_else(|| Status::unauthenticated("the caller is not known"))?;
    Ok(caller.clone())
}

/// A place among all streams, and one among those of the caller.
pub(super) type Slots = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

pub(super) fn stream(context: &Context, caller: &Caller) -> Result<Slots, Status> {
    let of_caller = caller.stream();
    let of_caller = of_caller.map_err(|problem| answer::problem(&problem))?;
    let slot = context.stream().ok_or_else(|| answer::no_stream(context))?;
    Ok((slot, of_caller))
}

/// Who the caller is now: what goes on for long asks again, as credentials expire and permissions change.
pub(super) fn still(context: &Context, caller: &Caller) -> Result<Caller, Status> {
    let still = context.still(caller);
    still.map_err(|problem| answer::problem(&problem))
}

/// Refuses the action with this topic, unless it is allowed.
pub(super) fn must(caller: &Caller, action: Action, topic: &str) -> Result<(), Status> {
    let allowed = caller.must(action, topic);
    allowed.map_err(|problem| answer::problem(&problem))
}

/// Refuses the action, unless it is allowed with all that these patterns select; without any, with
/// everything.
pub(super) fn must_cover(
    caller: &Caller,
    action: Action,
    patterns: &[String],
) -> Result<(), Status> {
    let allowed = caller.must_cover(action, patterns);
    allowed.map_err(|problem| answer::problem(&problem))
}

/// Refuses a caller who may not operate this group, or not see its dead letters.
pub(super) async fn must_operate(
    context: &Context,
    caller: &Caller,
    group: &str,
) -> Result<(), Status> {
    if caller.may_everything() {
        return Ok(());
    }
    let group = visible(context, caller, group).await?;
    must_cover(caller, Action::Operate, &group.topics)
}

pub(super) async fn must_handle(
    context: &Context,
    caller: &Caller,
    group: &str,
) -> Result<(), Status> {
    if caller.may_everything() {
        return Ok(());
    }
    let group = visible(context, caller, group).await?;
    if caller.handles(&group) {
        return Ok(());
    }
    must_cover(caller, Action::Read, &group.topics)
}

/// Refuses a caller who may not see this group, or not read this topic: its state is made of that.
pub(super) async fn must_see_state(
    context: &Context,
    caller: &Caller,
    group: &str,
    topic: &str,
) -> Result<(), Status> {
    must(caller, Action::Read, topic)?;
    if !caller.may_everything() {
        visible(context, caller, group).await?;
    }
    Ok(())
}

/// Refuses a caller who may not consume what the group has, if there is one.
pub(super) async fn must_join(
    context: &Context,
    caller: &Caller,
    group: &str,
) -> Result<(), Status> {
    if caller.may_everything() {
        return Ok(());
    }
    match answer::within(context, context.group(group)).await? {
        Some(group) => caller
            .must_join(&group)
            .map_err(|problem| answer::problem(&problem)),
        None => Ok(()),
    }
}

/// A group. One that the caller may not see is not there, for all that they can tell.
pub(super) async fn visible(
    context: &Context,
    caller: &Caller,
    name: &str,
) -> Result<GroupStatus, Status> {
    if caller.may_everything() {
        return answer::within(context, context.engine().group(name)).await;
    }
    let group = answer::within(context, context.group(name)).await?;
    let group = group.filter(|group| caller.sees(group));
    // Without the names of those that there are.
    group.ok_or_else(|| answer::engine(&Error::Group(GroupError::unknown(name, []))))
}

/// As much of a status as the caller may see.
pub(super) fn shown(mut status: EngineStatus, caller: &Caller) -> EngineStatus {
    if caller.may_everything() {
        return status;
    }
    status.topics.retain(|topic| caller.sees_topic(&topic.name));
    status.groups.retain(|group| caller.sees(group));
    status.groups = status
        .groups
        .into_iter()
        .map(|group| shown_group(group, caller))
        .collect();
    if !caller.is_admin() {
        status.needed = None;
        (status.scheduled, status.next_due) = (0, None);
        status.url = "ensue:".to_owned();
    }
    status
}

/// As much of a group as a caller who sees it may know: the keys only of what is theirs to handle.
pub(super) fn shown_group(mut group: GroupStatus, caller: &Caller) -> GroupStatus {
    if !caller.handles(&group) {
        group.backlogs.clear();
    }
    group
}

/// Leaves out of an event what is personal, unless the caller may see it.
pub(super) fn disclose(caller: &Caller, event: &mut Envelope) -> Result<(), Status> {
    caller
        .disclose(event)
        .map_err(|problem| answer::problem(&problem))
}

/// Whether the caller may see what waits. What cannot be read is of no topic.
pub(super) fn sees(caller: &Caller, waiting: &Scheduled) -> bool {
    let event = waiting.envelope.as_ref();
    caller.may_everything() || event.is_ok_and(|event| caller.may(Action::Read, event.topic()))
}
