//! The engine that a command talks to: opened to read, or to write.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ensue::engine::Driver;
use ensue::error::{EngineError, OpenError};
use ensue::{Error, SharedEngine};

use crate::failure::{Failure, Problem};
use crate::human;
use crate::output::Output;

/// How often it is looked whether the process that owns a directory has ended.
const LOCK_PERIOD: Duration = Duration::from_millis(50);
/// The engine of commands that are given none.
const DEFAULT_URL: &str = "embedded:./data";

/// The engine's URL, and what opening it takes.
#[derive(Debug)]
pub(crate) struct Target {
    url: String,
    is_given: bool,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            url: DEFAULT_URL.to_owned(),
            is_given: false,
        }
    }
}

/// What a command changes, for the case that another process is in the way.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    /// What did not happen then.
    pub(crate) undone: &'static str,
    /// What does the same inside the program that owns the log.
    pub(crate) method: &'static str,
}

impl Target {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            is_given: true,
        }
    }

    /// Whether the URL is one that was given, not the default.
    pub(crate) fn is_given(&self) -> bool {
        self.is_given
    }

    /// The URL as it was given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is what another process serves, to callers who may see some of it.
    pub(crate) fn is_served(&self) -> bool {
        self.url.starts_with("ensue:")
    }

    /// The directory of an embedded log; `None` for every other engine.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        ensue::engine::directory_of(&self.url).ok().flatten()
    }

    /// Opens the engine to read: works while another process owns it, and creates nothing.
    pub(crate) async fn reader(&self) -> Result<SharedEngine, Failure> {
        self.require_directory()?;
        let reader = ensue::connect_reader(&self.url).await;
        reader.map_err(|error| self.explain(error))
    }

    /// Opens the engine to change what is in it, does `work` and closes it.
    pub(crate) async fn write<T>(
        &self,
        change: Change,
        work: impl AsyncFnOnce(&dyn Driver) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // An owner creates what is not there; a reader tells.
        self.reader().await?.close().await?;
        let engine = self.owner(change).await?;
        let result = work(&*engine).await;
        let closed = engine.close().await;
        let value = result?;
        closed?;
        Ok(value)
    }

    /// Opens the engine to publish: an embedded log that is not there is created, and that is said.
    pub(crate) async fn create(
        &self,
        change: Change,
        out: &Output,
    ) -> Result<SharedEngine, Failure> {
        let is_new = self.require_directory().is_err();
        let engine = self.owner(change).await?;
        self.say_if_created(is_new, out);
        Ok(engine)
    }

    /// Opens the engine to serve it: one in memory, too, which ends with the server. A directory that
    /// another process owns is waited for.
    pub(crate) async fn serve(
        &self,
        wait: Duration,
        out: &Output,
    ) -> Result<SharedEngine, Failure> {
        let is_new = self.require_directory().is_err();
        let began = Instant::now();
        let engine = loop {
            match ensue::connect(&self.url).await {
                Ok(engine) => break engine,
                Err(Error::Open(OpenError::Locked { directory, pid })) => {
                    if began.elapsed() >= wait {
                        return Err(served(&directory, pid));
                    }
                    tokio::time::sleep(LOCK_PERIOD).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.say_if_created(is_new, out);
        if !engine.guarantees().survives_restart {
            out.note("what is published here is gone when the server ends");
        }
        Ok(engine)
    }

    fn say_if_created(&self, is_new: bool, out: &Output) {
        if let Some(directory) = self.directory()
            && is_new
        {
            out.note(format_args!("created a log in `{}`", directory.display()));
        }
    }

    async fn owner(&self, change: Change) -> Result<SharedEngine, Failure> {
        match ensue::connect(&self.url).await {
            Ok(engine)
                if !engine.guarantees().multi_process && !engine.guarantees().survives_restart =>
            {
                Err(Failure::new(
                    "unsupported",
                    format!(
                        "`{}` ends with this command: {}",
                        human::printable(&self.url),
                        change.undone
                    ),
                    "name a log that stays with --engine, such as embedded:./data",
                ))
            }
            Ok(engine) => Ok(engine),
            Err(Error::Open(OpenError::Locked { directory, pid })) => {
                Err(locked(&directory, pid, change))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a directory that is not there, instead of creating an empty log by mistake.
    pub(crate) fn require_directory(&self) -> Result<(), Failure> {
        match self.directory() {
            Some(directory) if !directory.is_dir() => Err(no_log(&directory)),
            _ => Ok(()),
        }
    }

    /// The failure of opening a log to read.
    pub(crate) fn explain(&self, error: Error) -> Failure {
        match (&error, self.directory()) {
            (Error::Engine(EngineError::Io { reason: source, .. }), Some(directory))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                no_log(&directory)
            }
            _ => error.into(),
        }
    }
}

fn no_log(directory: &Path) -> Failure {
    let shown = directory.display();
    Failure::new(
        "no_log",
        format!("there is no log in `{shown}`"),
        format!(
            "name one with --engine embedded:DIR or ENSUE_ENGINE; an app creates it when it \
             starts, and so does `ensue --engine embedded:{shown} publish`"
        ),
    )
}

/// Another process owns the log that was to be served.
fn served(directory: &str, pid: Option<u32>) -> Failure {
    let undone = "it cannot be served from here";
    let advice = "if that is `ensue serve`, it is served already: programs reach it as \
                  `ensue://127.0.0.1:3678`; otherwise serve it inside that program, with \
                  `ensue_server::Server`, or stop the program; `--wait` waits for its end";
    owned(directory, pid, undone, advice.to_owned())
}

fn locked(directory: &str, pid: Option<u32>, change: Change) -> Failure {
    let Change { undone, method } = change;
    owned(
        directory,
        pid,
        undone,
        format!(
            "if that is `ensue serve`, do it through the server, with `--engine ensue://127.0.0.1:3678`; \
             otherwise inside that program, with `{method}`, or stop the program and run this command \
             again; commands that only read work meanwhile"
        ),
    )
}

fn owned(directory: &str, pid: Option<u32>, undone: &str, advice: String) -> Failure {
    let owner = match (pid, pid.and_then(process_name)) {
        (Some(pid), Some(name)) => format!("process {pid} (`{name}`)"),
        (Some(pid), None) => format!("process {pid}"),
        (None, _) => "another process".to_owned(),
    };
    Failure::Failed(Problem {
        kind: "locked",
        message: format!("{owner} owns the log in `{directory}`: {undone}"),
        advice: Some(advice),
        pid,
    })
}

/// What the process calls itself, where the system tells.
fn process_name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_embedded_log_has_a_directory() {
        let directory = |url: &str| {
            let target = Target::new(url.to_owned());
            target.directory().map(|path| path.display().to_string())
        };
        assert_eq!(directory("embedded:./data").as_deref(), Some("./data"));
        assert_eq!(
            directory("embedded:/srv/x?durability=os").as_deref(),
            Some("/srv/x")
        );
        assert_eq!(directory("embedded:///srv/x").as_deref(), Some("/srv/x"));
        assert_eq!(directory("memory:"), None);
    }
}
