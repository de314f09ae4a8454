//! One `up`, `down` or `restart` at a time for each target directory.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Held by flock(1), which lets go when our end of its pipe closes: when this is dropped, and when
/// this process dies however it dies.
pub(crate) struct Lock {
    holder: Child,
}

impl Lock {
    /// Waits for as long as another process holds it.
    pub(crate) fn take(directory: &Path) -> Result<Self, String> {
        let cannot = |error| format!("cannot lock {}: {error}", directory.display());
        std::fs::create_dir_all(directory).map_err(cannot)?;
        let mut flock = Command::new("flock");
        flock.arg(directory.join("lock"));
        flock.args(["sh", "-c", "echo locked && exec cat >/dev/null"]);
        flock.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = flock.spawn().map_err(cannot)?;
        let mut said = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut said)
                .map_err(cannot)?;
        }
        match said.trim_end() {
            "locked" => Ok(Self { holder }),
            _ => Err(format!("cannot lock {}", directory.display())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It has nothing left to do but to end; and if it cannot be waited for, it is gone.
        let _ = self.holder.wait();
    }
}
