//! How long the engine may take.

use crate::context::Context;
use crate::problem::{Code, Problem};

/// What the engine answers, if it does in time.
pub(super) async fn within<T>(
    context: &Context,
    answer: impl Future<Output = ensue::Result<T>>,
) -> Result<T, Problem> {
    let timeout = context.limits().request_timeout;
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Problem::new(
            Code::Timeout,
            format!(
                "the engine did not answer within {timeout:?}, the limit `request_timeout`; what was \
                 asked for may happen yet: ask again, events that were appended are duplicates then"
            ),
        )),
    }
}
