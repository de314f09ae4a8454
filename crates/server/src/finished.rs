//! Work that goes on when nobody waits for it any more.

use crate::problem::{Code, Problem};

/// Does `work` to its end, also when this is dropped: what was begun for a client that hung up. A panic
/// in it is one here.
///
/// # Errors
/// The runtime ends.
pub(crate) async fn finished<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(done) => Ok(done),
        // It is answered and logged where all panics are.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Problem::new(
                Code::Closed,
                format!("the server stops: {error}"),
            )),
        },
    }
}
