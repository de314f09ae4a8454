//! Log-ins that sshd recorded, watched by the same service as our own.
//!
//! The lines of the file become events, [`BruteForce`] handles them, and what is reported is read
//! back from the log.

mod attempts;
mod error;
mod lines;
mod recording;
mod sshd;
mod syslog;
mod years;

use std::path::Path;

use ensue::prelude::*;

pub use self::attempts::Attempts;
pub use self::error::ReplayError;
pub use self::recording::Recording;
use crate::security::BruteForce;

/// The group of [`BruteForce`].
const GROUP: &str = "brute-force";

/// Appends what a file holds to the log at `engine`, waits until it was watched, and reports what
/// the log says then. Without `engine` it is a log on disk that is removed afterwards.
///
/// A file that is replayed into the same log again adds nothing. In a log that holds other log-ins,
/// those are reported too.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay(path: &Path, engine: Option<&str>) -> Result<Attempts, ReplayError> {
    if let Some(engine) = engine {
        return replay_into(path, engine).await;
    }
    let directory = tempfile::tempdir().map_err(ReplayError::Directory)?;
    let engine = format!("embedded:{}", directory.path().display());
    replay_into(path, &engine).await
}

async fn replay_into(path: &Path, engine: &str) -> Result<Attempts, ReplayError> {
    let recording = Recording::open(path).await?;
    let engine = Engine::open(engine).await?;
    let mut running = App::new(engine.clone()).service(BruteForce).start().await?;
    let work = async {
        recording.publish_to(&engine).await?;
        engine.settled([GROUP]).await?;
        Attempts::read(&engine).await.map_err(ReplayError::from)
    };
    let attempts = tokio::select! {
        attempts = work => attempts,
        error = running.failed() => Err(error.into()),
    };
    let stopped = running.stop().await;
    let attempts = attempts?;
    stopped?;
    engine.close().await?;
    Ok(attempts)
}
