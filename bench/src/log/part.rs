//! What runs in a process of its own: other stores, because some keep global state; what is
//! killed; and what is watched for its memory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{memory, open, peers};
use crate::Outcome;

#[derive(Serialize, Deserialize)]
pub(crate) enum Part {
    Peer(peers::Job),
    Fill(open::Fill),
    Memory(memory::Job),
}

/// Starts a part. What it finds out it prints as its last line, as JSON.
pub(crate) fn start(part: &Part, directory: &Path) -> Outcome<Child> {
    let child = Command::new(std::env::current_exe()?)
        .arg("part")
        .arg(serde_json::to_string(part)?)
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
pub(crate) fn run<T: DeserializeOwned>(
    part: &Part,
    directory: &Path,
    deadline: Duration,
) -> Outcome<T> {
    let mut child = start(part, directory)?;
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
pub(crate) fn serve(part: &str) -> Outcome<()> {
    let outcome = match serde_json::from_str(part)? {
        Part::Peer(job) => peers::serve(&job).and_then(|it| Ok(serde_json::to_string(&it)?)),
        Part::Fill(fill) => open::serve(&fill),
        Part::Memory(job) => memory::serve(&job).and_then(|it| Ok(serde_json::to_string(&it)?)),
    };
    match outcome {
        Ok(line) => println!("{line}"),
        Err(error) => {
            println!("{error}");
            std::process::exit(1);
        }
    }
    Ok(())
}
