//! `/livez` and `/readyz`: whether to restart the process, and whether to send it requests.

use axum::extract::State;

use super::route::{Routes, get};
use crate::context::Context;
use crate::openapi::{Tag, about};
use crate::problem::Problem;
use crate::readiness;
use crate::security::{Access, Caller};

pub(super) fn routes(routes: Routes) -> Routes {
    let lives = about("getLiveness", "Says that the process answers");
    let readies = about(
        "getReadiness",
        "Says whether the server can be sent requests",
    );
    routes
        .tag(TAG)
        .add("/livez", [get(Access::Public, lives, live)])
        .add("/readyz", [get(Access::Public, readies, ready)])
}

const TAG: Tag = Tag {
    name: "probes",
    what: "For those who watch the process.",
};

/// The process answers. An engine in trouble is no reason to restart it.
async fn live() -> &'static str {
    "alive\n"
}

/// The engine works, and the server does not stop.
async fn ready(State(context): State<Context>, caller: Caller) -> Result<&'static str, Problem> {
    readiness::check(&context, &caller).await
}
