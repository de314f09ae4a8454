//! What was started, as a file that tests read.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::launch::{LOG, Launch, SCRIPT};
use crate::process::Process;
use crate::tail::last_lines;

/// How long a script may take to write down its process: only a hang takes so long.
const START_SECONDS_MAX: u64 = 300;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) url: String,
    /// When it was last started from here; 0 before that.
    pub(crate) pid: u32,
    /// The first one is the one of the URL.
    pub(crate) ports: Vec<u16>,
    /// A script that becomes the server.
    pub(crate) start: PathBuf,
    pub(crate) log: PathBuf,
    /// What the script runs.
    pub(crate) command: Vec<String>,
    /// All of it.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Entry {
    pub(crate) fn new(
        name: &str,
        version: &str,
        directory: &Path,
        ports: Vec<u16>,
        launch: Launch,
    ) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            url: launch.url,
            pid: 0,
            ports,
            start: directory.join(SCRIPT),
            log: directory.join(LOG),
            command: launch.command,
            environment: launch.environment,
        }
    }

    /// Starts a server in a session of its own, so that it outlives us and our terminal.
    pub(crate) fn start(&self) -> Result<(), String> {
        let mut setsid = Command::new("setsid");
        setsid.arg(&self.start).stdin(Stdio::null());
        setsid.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = setsid
            .spawn()
            .map_err(|error| format!("cannot run setsid: {error}"))?;
        let pid = child.id();
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        // Until then, what is written down is the process before this one.
        while Process::of(self.directory()).is_none_or(|it| it.pid() != pid) {
            let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || Instant::now() > deadline {
                let log = last_lines(&self.log);
                return Err(format!("{} does not start:\n{log}", self.name));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.start.parent().unwrap_or(&self.start)
    }

    /// The port for clients. Never 0: every server has a port.
    pub(crate) fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or(0)
    }
}

/// All servers, in the order in which they were set up.
#[derive(Debug, Default)]
pub(crate) struct State(Vec<Entry>);

impl State {
    /// Empty when there is no file.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
        };
        serde_json::from_str(&text)
            .map(Self)
            .map_err(|error| format!("{} is damaged: {error}", file.display()))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.name == name)
    }

    /// Writes one server down, in place of what was known about it.
    pub(crate) fn put(&mut self, entry: Entry, file: &Path) -> Result<(), String> {
        match self.0.iter_mut().find(|old| old.name == entry.name) {
            Some(old) => *old = entry,
            None => self.0.push(entry),
        }
        self.write(file)
    }

    /// Forgets a server. With the last one, the file and its directory go as well.
    pub(crate) fn remove(&mut self, name: &str, file: &Path) -> Result<(), String> {
        self.0.retain(|entry| entry.name != name);
        if !self.0.is_empty() {
            return self.write(file);
        }
        let removed = std::fs::remove_file(file);
        if let Some(directory) = file.parent() {
            // Not when there is something in it that is not ours.
            let _ = std::fs::remove_dir(directory);
        }
        removed.map_err(|error| format!("cannot remove {}: {error}", file.display()))
    }

    /// Readers see the old file or the new one. Only its owner reads it: URLs have passwords.
    fn write(&self, file: &Path) -> Result<(), String> {
        let new = file.with_extension("json.new");
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec_pretty(&self.0)?;
            text.push(b'\n');
            let mut options = OpenOptions::new();
            options.create(true).truncate(true).write(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&new)?.write_all(&text)?;
            std::fs::rename(&new, file)
        };
        write().map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    /// What `status --json` says.
    pub(crate) fn status(&self) -> serde_json::Value {
        let status = |entry: &Entry| {
            let process = Process::of(entry.directory());
            json!({
                "name": entry.name,
                "version": entry.version,
                "url": entry.url,
                "running": process.is_some(),
                "pid": process.map(|process| process.pid()),
                "start": entry.start,
            })
        };
        self.0.iter().map(status).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(name: &str, directory: &Path) -> Entry {
        let url = format!("{name}://127.0.0.1:15000");
        let launch = Launch::new(url, ["redis-server", "redis.conf"]);
        let entry = Entry::new("redis", "7.0.15", directory, vec![15_000], launch);
        Entry {
            name: name.to_owned(),
            ..entry
        }
    }

    #[test]
    fn what_was_put_is_read_and_what_was_removed_is_gone() {
        let name = format!("ensue-state-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("state.json");
        let mut state = State::read(&file).unwrap();
        assert_eq!(state.entries(), []);

        state.put(entry("redis", &directory), &file).unwrap();
        state.put(entry("nats", &directory), &file).unwrap();
        let mut redis = entry("redis", &directory);
        redis.pid = 4711;
        state.put(redis.clone(), &file).unwrap();
        let read = State::read(&file).unwrap();
        assert_eq!(read.entries().len(), 2);
        assert_eq!(read.get("redis"), Some(&redis));
        assert_eq!(read.entries(), state.entries());

        state.remove("redis", &file).unwrap();
        assert_eq!(State::read(&file).unwrap().get("redis"), None);
        state.remove("nats", &file).unwrap();
        assert!(!directory.exists());
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let name = format!("ensue-state-damaged-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, "[{\"name\":").unwrap();
        assert!(State::read(&file).unwrap_err().contains("damaged"));
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_server_without_a_process_does_not_run() {
        let state = State(vec![entry("redis", Path::new("/nowhere/at/all"))]);
        let expected = json!([{
            "name": "redis",
            "version": "7.0.15",
            "url": "redis://127.0.0.1:15000",
            "running": false,
            "pid": null,
            "start": "/nowhere/at/all/start.sh",
        }]);
        assert_eq!(state.status(), expected);
    }
}
