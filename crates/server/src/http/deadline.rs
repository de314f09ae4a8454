//! How long the engine may take.

use crate::context::Context;
use crate::problem::Problem;

/// What the engine answers, if it does in time.
pub(super) async fn within<T>(
    context: &Context,
    answer: impl Future<Output = ensue::Result<T>>,
) -> Result<T, Problem> {
    Ok(context.in_time(answer).await??)
}
