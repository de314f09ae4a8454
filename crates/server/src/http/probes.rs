//! `/livez` and `/readyz`: whether to restart the process, and whether to send it requests.

use axum::extract::State;

use super::route::{Routes, get};
use crate::context::Context;
use crate::problem::Problem;
use crate::readiness;
use crate::security::{Access, Caller};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add("/livez", [get(Access::Public, live)])
        .add("/readyz", [get(Access::Public, ready)])
}

/// The process answers. An engine in trouble is no reason to restart it.
async fn live() -> &'static str {
    "alive\n"
}

/// The engine works, and the server does not stop.
async fn ready(State(context): State<Context>, caller: Caller) -> Result<&'static str, Problem> {
    readiness::check(&context, &caller).await
}
