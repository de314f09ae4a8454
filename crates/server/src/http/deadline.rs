//! How long the engine may take, and how long clients wait.

use std::time::Duration;

use super::query::{Query, invalid};
use crate::context::Context;
use crate::problem::Problem;

/// What the engine answers, if it does in time.
pub(super) async fn within<T>(
    context: &Context,
    answer: impl Future<Output = ensue::Result<T>>,
) -> Result<T, Problem> {
    Ok(context.in_time(answer).await??)
}

/// How long a client waits unless it is said.
const WAIT: Duration = Duration::from_secs(10);

/// How long a client waits that says so in the parameter `name`.
pub(super) fn wait(context: &Context, query: &Query, name: &str) -> Result<Duration, Problem> {
    let max = context.limits().wait_max;
    let wait = match query.text(name).map(ensue::parse_duration) {
        None => return Ok(WAIT.min(max)),
        Some(Ok(wait)) => wait,
        Some(Err(error)) => return Err(invalid(name, &format!("cannot be read: {error}"))),
    };
    if wait > max {
        let problem = format!("is {wait:?}; the longest is {max:?}, the limit `wait_max`");
        return Err(invalid(name, &problem));
    }
    Ok(wait)
}
