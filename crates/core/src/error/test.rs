//! Why a test of services failed.

/// What the test kit found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// A run failed; the source says how.
    #[error("with {fault}, after {good_runs} good runs")]
    Run {
        /// What was done to the run.
        fault: String,
        /// How many runs before it were good.
        good_runs: u64,
        /// What went wrong.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What a test expects is not so.
    #[error("{0}")]
    Expectation(String),
    /// An event that a scenario begins with could not be handled.
    #[error("the given `{event}` could not be handled: {reason}")]
    Given {
        /// The event's type.
        event: String,
        /// Why.
        reason: String,
    },
    /// The service has no handler for an event of a scenario.
    #[error("`{service}` has no handler for `{event}` from `{topic}`")]
    NoHandler {
        /// The service.
        service: String,
        /// The event's type.
        event: String,
        /// Its topic.
        topic: String,
    },
}
