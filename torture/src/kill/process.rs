//! One child: started, listened to, killed.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::checker::Checker;
use super::plan;
use super::report::{Report, Task};

/// How many reports may wait for the checker.
const REPORTS_MAX: usize = 1_024;
/// A child that says nothing for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How a child ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Killed before it was open.
    KilledOpening,
    /// Killed after it was open, and how long opening took.
    KilledWorking { opening: Duration },
    /// It did all that it was asked for.
    Finished,
    /// It ended without being asked to.
    Itself { status: ExitStatus },
    /// It had to be killed because it did nothing.
    Stuck,
}

/// A child that lives.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    reports: Receiver<Report>,
    listener: JoinHandle<()>,
    begin: Instant,
    /// How long opening took.
    opening: Option<Duration>,
}

impl Process {
    /// Starts a child. What it says is also written to the file `said`.
    pub(crate) fn start(task: &Task, said: &Path) -> std::io::Result<Self> {
        let begin = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("kill-child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = serde_json::to_vec(task)?;
        line.push(b'\n');
        let missing = || std::io::Error::other("the child has no pipe");
        child.stdin.take().ok_or_else(missing)?.write_all(&line)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let (sender, reports) = sync_channel(REPORTS_MAX);
        let mut said = BufWriter::new(File::create(said)?);
        said.write_all(&line)?;
        let listener = std::thread::spawn(move || listen(output, &sender, said));
        Ok(Self {
            child,
            reports,
            listener,
            begin,
            opening: None,
        })
    }

    /// Listens until the instant has come, kills the child, and listens to what it still said.
    pub(crate) fn live(
        mut self,
        instant: plan::Instant,
        checker: &mut Checker,
    ) -> std::io::Result<End> {
        let mut is_killed = false;
        let mut is_stuck = false;
        loop {
            let due = self.due(instant).filter(|_| !is_killed);
            if due.is_some_and(|due| Instant::now() >= due) {
                self.child.kill()?;
                is_killed = true;
                continue;
            }
            let patience = due.map(|due| due.saturating_duration_since(Instant::now()));
            match self.reports.recv_timeout(patience.unwrap_or(SILENCE_MAX)) {
                Ok(report) => {
                    if matches!(report, Report::Opened) {
                        self.opening = Some(self.begin.elapsed());
                    }
                    checker.hears(report);
                }
                Err(RecvTimeoutError::Timeout) if due.is_some() => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    is_killed = true;
                    is_stuck = true;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait()?;
        // It has ended: the channel was closed.
        let _ = self.listener.join();
        Ok(match self.opening {
            _ if is_stuck => End::Stuck,
            _ if !is_killed && status.success() && checker.is_drained => End::Finished,
            _ if status.code().is_some() => End::Itself { status },
            Some(opening) => End::KilledWorking { opening },
            None => End::KilledOpening,
        })
    }

    /// When to kill, if it is known.
    fn due(&self, instant: plan::Instant) -> Option<Instant> {
        match instant {
            plan::Instant::Opening(wait) => Some(self.begin + wait),
            plan::Instant::Working(wait) => self.opening.map(|opening| self.begin + opening + wait),
            plan::Instant::Never => None,
        }
    }
}

/// Reads reports until the pipe ends. What is not a whole line was cut off by the kill: it was not
/// said.
fn listen(output: impl Read, reports: &SyncSender<Report>, mut said: impl Write) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        if line.ends_with(b"\n") {
            // A copy for people; the attack does not depend on it.
            let _ = said.write_all(&line);
            let report = serde_json::from_slice(&line).unwrap_or_else(|error| Report::Flaw {
                what: format!("the child said something unknown: {error}"),
            });
            if reports.send(report).is_err() {
                break;
            }
        }
        line.clear();
    }
    let _ = said.flush();
}
