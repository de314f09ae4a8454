//! Processes that were started earlier, maybe by others: tests kill and start servers themselves.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The file in a server's directory into which its `start.sh` writes process id and start time.
pub(crate) const FILE: &str = "process";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// What PostgreSQL takes for: do not wait for clients.
    Interrupt,
    Terminate,
    Kill,
}

/// A process that runs, and is the one that was started: ids are used again, an id together with
/// the time of its start is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    /// In clock ticks since the machine was booted.
    started: u64,
}

impl Process {
    /// The server of a directory; `None` when it does not run.
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let written = std::fs::read_to_string(directory.join(FILE)).ok()?;
        let (pid, started) = written.trim_end().split_once(' ')?;
        let process = Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        };
        process.is_running().then_some(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| start_if_running(&stat) == Some(self.started))
    }

    /// Does nothing to a process that has ended meanwhile.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let name = match signal {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
        };
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid.to_string()]);
        match kill.output() {
            Ok(output) if output.status.success() || !self.is_running() => Ok(()),
            Ok(output) => Err(format!(
                "cannot end process {}: {}",
                self.pid,
                String::from_utf8_lossy(&output.stderr).trim_end()
            )),
            Err(error) => Err(format!("cannot run sh: {error}")),
        }
    }

    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// When the process of this `/proc/…/stat` was started; `None` when it has ended and only waits for
/// its parent to notice.
fn start_if_running(stat: &str) -> Option<u64> {
    // The program's name is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    match fields.next()? {
        "Z" | "X" => None,
        // The state was the third field; the time is the 22nd.
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};

    use super::*;

    const STAT: &str = "4711 (a) b (c) S 1 4711 4711 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 \
                        8642 1000 100 18446744073709551615";

    fn sleeper() -> (Child, Process) {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg("3600").stdin(Stdio::null()).spawn().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started = start_if_running(&stat).unwrap();
        let pid = child.id();
        (child, Process { pid, started })
    }

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        assert_eq!(start_if_running(STAT), Some(8642));
        assert_eq!(start_if_running(&STAT.replace(" S ", " Z ")), None);
        assert_eq!(start_if_running("4711"), None);
    }

    #[test]
    fn a_process_that_took_over_an_id_is_another_one() {
        let (mut child, process) = sleeper();
        assert!(process.is_running());
        let started = process.started + 1;
        assert!(!Process { started, ..process }.is_running());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_without_a_waiter_has_ended_all_the_same() {
        let (mut child, process) = sleeper();
        assert!(!process.ends_within(Duration::ZERO));
        process.signal(Signal::Terminate).unwrap();
        assert!(process.ends_within(Duration::from_secs(300)));
        // Twice is as good as once.
        process.signal(Signal::Kill).unwrap();
        child.wait().unwrap();
    }
}
