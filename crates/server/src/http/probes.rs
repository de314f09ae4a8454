//! `/livez` and `/readyz`: whether to restart the process, and whether to send it requests.

use std::time::Duration;

use axum::extract::State;

use super::route::{Routes, get};
use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::Access;

/// How long the engine may take before it is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

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
async fn ready(State(context): State<Context>) -> Result<&'static str, Problem> {
    let not_ready = |detail: String| Problem::new(Code::Overloaded, detail);
    if context.is_draining() {
        return Err(not_ready("the server is stopping".to_owned()));
    }
    match tokio::time::timeout(PROBE_TIMEOUT, context.engine().status()).await {
        Ok(status) => match status?.trouble {
            None => Ok("ready\n"),
            Some(trouble) => Err(not_ready(trouble)),
        },
        Err(_) => Err(not_ready(format!(
            "the engine did not answer within {PROBE_TIMEOUT:?}"
        ))),
    }
}
