//! `/v1/groups/{group}/members`: a client as a member of a group, which takes events and commits what
//! became of them.

mod commit;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod join;
mod take;

use axum::Json;
use axum::extract::State;
use ensue::Error;
use ensue::error::GroupError;
use schemars::JsonSchema;
use serde::Serialize;

use super::deadline;
use super::path::Path;
use super::route::{Routes, delete, post};
use crate::context::Context;
use crate::leases::Call;
use crate::openapi::{Tag, about};
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller};

/// Where a client waits for deliveries.
pub(super) const TAKE: &str = "/v1/groups/{group}/members/{member}/take";
const GROUPS: &str = "/v1/groups/";
const TAKING: &str = "/take";
const TAG: Tag = Tag {
    name: "members",
    what: "A client as a member of a group: it takes events, and commits what follows from them.",
};
/// What may be wrong with a member.
const OF_MEMBERS: &[Code] = &[Code::UnknownMember, Code::Fenced, Code::UnknownGroup];
/// What may be wrong with a commit.
const COMMITTING: &[Code] = &[
    Code::UnknownMember,
    Code::UnknownGroup,
    Code::Fenced,
    Code::StaleDelivery,
    Code::OutOfOrder,
    Code::InvalidEvent,
];

const RENEW: &str = "/v1/groups/{group}/members/{member}/renew";
const COMMIT: &str = "/v1/groups/{group}/members/{member}/commit";

pub(super) fn routes(routes: Routes) -> Routes {
    let consume = Access::May(Action::Consume);
    let member = "/v1/groups/{group}/members/{member}";
    let joins = about("joinGroup", "Joins a group, which is made if it is new").refuses(&[
        Code::InTheFuture,
        Code::BeyondEnd,
        Code::Trimmed,
        Code::Fenced,
        Code::OtherSubscription,
    ]);
    let leaves = about(
        "leaveGroup",
        "Leaves: what the member holds goes to others at once",
    )
    .refuses(OF_MEMBERS);
    let renews = about("renewLease", "Keeps the lease of a member").refuses(OF_MEMBERS);
    let takes = about(
        "takeDeliveries",
        "Takes the next deliveries, as soon as there are any",
    )
    .refuses(OF_MEMBERS);
    let commits = about(
        "commitDeliveries",
        "Says what became of deliveries, with what follows from them: all of it or nothing",
    )
    .refuses(COMMITTING);
    routes
        .tag(TAG)
        .add(
            "/v1/groups/{group}/members",
            [post(consume, joins, join::join)],
        )
        .add(member, [delete(consume, leaves, leave)])
        .add(RENEW, [post(consume, renews, renew)])
        .add(TAKE, [post(consume, takes, take::take)])
        .add(COMMIT, [post(consume, commits, commit::commit)])
}

/// Whether this is the path of a [`TAKE`].
pub(super) fn is_take(path: &str) -> bool {
    path.starts_with(GROUPS) && path.ends_with(TAKING)
}

/// Whether a client may go on with its member over the connection while the server is stopping.
pub(super) fn keeps_connection(route: &str) -> bool {
    [RENEW, COMMIT].contains(&route)
}

/// The member that a request is about, which is its caller's. Its lease stands still until what is
/// given is dropped.
fn call(context: &Context, caller: &Caller, group: &str, member: &str) -> Result<Call, Problem> {
    let call = context.leases().call(group, member, caller.name());
    let call = call.ok_or_else(unknown)?;
    // Permissions may have changed since it joined.
    if !caller.may_everything() {
        caller.must_cover(Action::Consume, call.topics())?;
    }
    Ok(call)
}

fn unknown() -> Problem {
    Problem::new(
        Code::UnknownMember,
        "the group has no such member: its lease expired, it has left, or the server was restarted; join \
         again, what was not committed is delivered again",
    )
}

/// What the engine says of a member. One that was replaced is forgotten.
fn refused(call: &Call, error: Error) -> Problem {
    if let Error::Group(GroupError::Fenced { .. }) = &error {
        call.replaced();
        return Problem::new(
            Code::Fenced,
            "the member was replaced, because its group was reset or it was taken for dead; join again, \
             what was not committed is delivered again",
        );
    }
    error.into()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The lease begins anew.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RenewedLease")]
struct Renewed {
    /// How long the client may say nothing, in milliseconds.
    lease_ms: u64,
}

async fn renew(
    State(context): State<Context>,
    caller: Caller,
    Path((group, member)): Path<(String, String)>,
) -> Result<Json<Renewed>, Problem> {
    let call = call(&context, &caller, &group, &member)?;
    Ok(Json(Renewed {
        lease_ms: millis(call.lease()),
    }))
}

/// The member is gone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LeftGroup")]
struct Left {
    left: String,
}

async fn leave(
    State(context): State<Context>,
    caller: Caller,
    Path((group, member)): Path<(String, String)>,
) -> Result<Json<Left>, Problem> {
    let call = call(&context, &caller, &group, &member)?;
    if !deadline::within(&context, call.leave()).await? {
        return Err(unknown());
    }
    Ok(Json(Left { left: member }))
}
