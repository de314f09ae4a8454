//! What runs in a process of its own: other stores, because some keep global state; what is
//! killed; and what is watched for its memory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Outcome;

/// What a part is told.
pub(crate) trait Job: Serialize + DeserializeOwned {
    /// By which the new process finds the part.
    const NAME: &'static str;
}

/// Starts a part. What it finds out it prints as its last line, as JSON.
pub(crate) fn start<J: Job>(job: &J, directory: &Path) -> Outcome<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args(["part", J::NAME])
        .arg(serde_json::to_string(job)?)
        // One store takes its directory and its silence from the environment only.
        .env("WALRUS_DATA_DIR", directory.join("walrus"))
        .env("WALRUS_QUIET", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// Runs a part to its end and reads what it found out.
pub(crate) fn run<J: Job, T: DeserializeOwned>(
    job: &J,
    directory: &Path,
    deadline: Duration,
) -> Outcome<T> {
    let mut child = start(job, directory)?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("it did not end within {deadline:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    if !output.status.success() {
        return Err(format!("it ended with {}: {last}", output.status).into());
    }
    Ok(serde_json::from_str(last)?)
}

/// The other side: what the child process does.
pub(crate) fn serve<J: Job, T: Serialize>(
    job: &str,
    work: impl FnOnce(&J) -> Outcome<T>,
) -> Outcome<()> {
    let job = serde_json::from_str(job)?;
    match work(&job).and_then(|found| Ok(serde_json::to_string(&found)?)) {
        Ok(line) => println!("{line}"),
        Err(error) => {
            println!("{error}");
            std::process::exit(1);
        }
    }
    Ok(())
}
