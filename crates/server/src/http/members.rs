//! `/v1/groups/{group}/members`: a client as a member of a group, which takes events and commits what
//! became of them.

mod commit;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod join;
mod take;

use axum::Json;
use axum::extract::{Path, State};
use ensue::Error;
use ensue::error::GroupError;
use serde_json::{Value, json};

use super::deadline;
use super::route::{Routes, delete, post};
use crate::context::Context;
use crate::leases::Call;
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller};

/// Where a client waits for deliveries.
pub(super) const TAKE: &str = "/v1/groups/{group}/members/{member}/take";
const RENEW: &str = "/v1/groups/{group}/members/{member}/renew";
const COMMIT: &str = "/v1/groups/{group}/members/{member}/commit";

pub(super) fn routes(routes: Routes) -> Routes {
    let consume = Access::May(Action::Consume);
    let member = "/v1/groups/{group}/members/{member}";
    routes
        .add("/v1/groups/{group}/members", [post(consume, join::join)])
        .add(member, [delete(consume, leave)])
        .add(RENEW, [post(consume, renew)])
        .add(TAKE, [post(consume, take::take)])
        .add(COMMIT, [post(consume, commit::commit)])
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

async fn renew(
    State(context): State<Context>,
    caller: Caller,
    Path((group, member)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let call = call(&context, &caller, &group, &member)?;
    Ok(Json(json!({ "lease_ms": millis(call.lease()) })))
}

async fn leave(
    State(context): State<Context>,
    caller: Caller,
    Path((group, member)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let call = call(&context, &caller, &group, &member)?;
    if !deadline::within(&context, call.leave()).await? {
        return Err(unknown());
    }
    Ok(Json(json!({ "left": member })))
}
