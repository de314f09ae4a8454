//! Starting and ending servers.
//!
//! Each server listens on 127.0.0.1 alone, on a free port, with its data below `target/services`.
//! What was started is written down in `target/services/state.json`, so that a test can kill a
//! server and start the same one again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::catalog::SERVERS;
use crate::lock::Lock;
use crate::place::{Place, remove_directory};
use crate::probe::Patience;
use crate::process::{Process, Signal};
use crate::say::say;
use crate::server::{Server, Started};
use crate::state::{Entry, State};
use crate::tail::last_lines;
use crate::{launch, package, port, table};

/// Only a server that hangs takes so long to start, however busy the machine is.
const READY_SECONDS_MAX: u64 = 600;
/// How long a server may take to end before it is killed.
const END_SECONDS_MAX: u64 = 60;
/// How often a new server is set up: each time on other ports, because another program may take one of them
/// between the moment that it is found free and the moment that the server listens on it.
const SET_UPS_MAX: usize = 3;

/// The names of all servers that there are.
pub fn names() -> impl Iterator<Item = &'static str> {
    SERVERS.iter().map(|server| server.name)
}

/// Starts and ends servers, one call at a time for each target directory.
///
/// Its errors are texts for people: what went wrong, and what to do.
#[derive(Clone, Debug)]
pub struct Launcher {
    place: Place,
}

impl Launcher {
    /// For the servers below a target directory; `may_install` allows it to install, build or fetch what
    /// is missing: Debian packages as root, Kafka, NATS.
    ///
    /// # Errors
    /// When there is no current directory for a relative one.
    pub fn new(target: &Path, may_install: bool) -> Result<Self, String> {
        let target = std::path::absolute(target)
            .map_err(|error| format!("where is the target directory? {error}"))?;
        let place = Place {
            services: target.join("services"),
            programs: target.join("servers"),
            may_install,
        };
        Ok(Self { place })
    }

    /// Starts servers, the usual ones without names, and waits until each of them answers.
    ///
    /// # Errors
    /// The first server that cannot be started.
    pub fn up(&self, names: &[String]) -> Result<(), String> {
        let _lock = Lock::take(&self.place.programs)?;
        up(&self.place, names)
    }

    /// Ends servers, all without names, and removes their data.
    ///
    /// # Errors
    /// What cannot be ended or removed.
    pub fn down(&self, names: &[String]) -> Result<(), String> {
        let _lock = Lock::take(&self.place.programs)?;
        down(&self.place, names)
    }

    /// Ends a server, with SIGKILL if `kill`, and starts it again: same port, same data.
    ///
    /// # Errors
    /// When it was never started, or does not end or answer.
    pub fn restart(&self, name: &str, kill: bool) -> Result<(), String> {
        let _lock = Lock::take(&self.place.programs)?;
        restart(&self.place, name, kill)
    }

    /// Lists what was started, for people or as JSON. It does not wait for an `up` that installs.
    ///
    /// # Errors
    /// When the file with it is damaged.
    pub fn status(&self, as_json: bool) -> Result<(), String> {
        status(&self.place, as_json)
    }
}

/// The servers that a run of the tests has for itself.
#[derive(Debug)]
pub struct TestServers {
    launcher: Launcher,
    file: PathBuf,
    missing: Vec<(&'static str, String)>,
    left_out: Vec<(&'static str, String)>,
    /// Those that ran before stay up.
    started: Vec<String>,
}

impl TestServers {
    /// Starts what can be started: of NATS, the oldest that is supported as well.
    ///
    /// # Errors
    /// What stands in the way of all of them.
    pub fn start(launcher: Launcher) -> Result<Self, String> {
        let place = &launcher.place;
        let _lock = Lock::take(&place.programs)?;
        let before = State::read(&place.state())?;
        let (mut missing, mut left_out, mut started) = (Vec::new(), Vec::new(), Vec::new());
        for server in SERVERS {
            let as_it_is = Place {
                may_install: false,
                ..place.clone()
            };
            let (place, lacks) = match server.started {
                Started::Always | Started::ForTests => (place, &mut missing),
                Started::ForTestsIfThere => (&as_it_is, &mut left_out),
                Started::ByName => continue,
            };
            match up(place, &[server.name.to_owned()]) {
                Ok(()) if before.get(server.name).is_none() => started.push(server.name.to_owned()),
                Ok(()) => {}
                Err(why) => lacks.push((server.name, why)),
            }
        }
        let state = State::read(&place.state())?;
        let file = place.services.join("status.json");
        std::fs::create_dir_all(&place.services)
            .and_then(|()| std::fs::write(&file, state.status().to_string()))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        Ok(Self {
            launcher,
            file,
            missing,
            left_out,
            started,
        })
    }

    /// The file with what `status --json` prints, for the tests.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Those that could not be started, and why.
    pub fn missing(&self) -> &[(&'static str, String)] {
        &self.missing
    }

    /// Those that were not installed by hand, and that no run of the tests installs.
    pub fn left_out(&self) -> &[(&'static str, String)] {
        &self.left_out
    }

    /// Ends what was started for this run.
    ///
    /// # Errors
    /// What cannot be ended or removed.
    pub fn end(self) -> Result<(), String> {
        // Without names, all would go.
        if self.started.is_empty() {
            return Ok(());
        }
        self.launcher.down(&self.started)
    }
}

fn up(place: &Place, names: &[String]) -> Result<(), String> {
    let begin = Instant::now();
    let mut state = State::read(&place.state())?;
    let wanted: Vec<_> = SERVERS
        .iter()
        .filter(|server| match names {
            [] => server.started == Started::Always,
            names => names.iter().any(|name| name == server.name),
        })
        .collect();
    let new = wanted.iter().filter(|it| state.get(it.name).is_none());
    let missing: Vec<_> = new
        .flat_map(|server| server.origin.missing(place))
        .collect();
    package::install(missing, place.may_install)?;
    let mut new = Vec::new();
    for server in &wanted {
        if state.get(server.name).is_none() {
            new.push(server.name);
        }
        start(server, &mut state, place)?;
    }
    // They start side by side: the slowest one decides how long that takes.
    for server in &wanted {
        let mut set_ups_left = if new.contains(&server.name) {
            SET_UPS_MAX - 1
        } else {
            0
        };
        while let Err(why) = wait_until_ready(server, &mut state, place) {
            let entry = state.get(server.name).cloned();
            let ended = entry.filter(|entry| Process::of(entry.directory()).is_none());
            let Some(ended) = ended.filter(|_| set_ups_left > 0) else {
                return Err(why);
            };
            set_ups_left -= 1;
            say(format_args!("{why}\nsetting it up again"));
            // It has come too little far to leave anything, most likely.
            let _ = (server.clean_up)(&ended);
            state.remove(server.name, &place.state())?;
            start(server, &mut state, place)?;
        }
    }
    say(table::of(&state));
    say(format_args!("\n{:.1} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

/// Starts a server that does not run, and sets it up if it is new.
fn start(server: &Server, state: &mut State, place: &Place) -> Result<(), String> {
    let entry = match state.get(server.name) {
        Some(entry) => entry.clone(),
        None => {
            let entry = set_up(server, place, state)?;
            state.put(entry.clone(), &place.state())?;
            entry
        }
    };
    match Process::of(entry.directory()) {
        Some(_) => Ok(()),
        None => entry.start(),
    }
}

/// Everything but the start. A directory that is not in the state file is left from an attempt that
/// failed half-way.
fn set_up(server: &Server, place: &Place, state: &State) -> Result<Entry, String> {
    say(format_args!("setting up {}", server.name));
    let program = server.origin.obtain(place)?;
    let directory = place.services.join(server.name);
    remove_directory(&directory)?;
    launch::make_directory(&directory)?;
    let taken: Vec<_> = state.entries().iter().flat_map(|it| &it.ports).collect();
    let ports = port::free(server.ports, |port| taken.contains(&&port))?;
    let launch = (server.set_up)(&program, &directory, &ports)?;
    launch.write(&directory)?;
    let version = &program.version;
    Ok(Entry::new(server.name, version, &directory, ports, launch))
}

fn wait_until_ready(server: &Server, state: &mut State, place: &Place) -> Result<(), String> {
    let Some(mut entry) = state.get(server.name).cloned() else {
        return Err(format!("{} was never started", server.name));
    };
    let name = server.name;
    let failed = |why: &str| {
        let log = last_lines(&entry.log);
        format!("{name} {why}; the end of {}:\n{log}", entry.log.display())
    };
    let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
    let mut patience = Patience::new();
    let process = loop {
        let is_answered = server.probe.is_answered(entry.port(), &mut patience);
        // Looked at last: with our server gone, it was another one that answered on its port.
        let Some(process) = Process::of(entry.directory()) else {
            return Err(failed("has ended"));
        };
        if is_answered {
            break process;
        }
        if Instant::now() > deadline {
            return Err(failed("does not answer"));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    entry.pid = process.pid();
    state.put(entry, &place.state())
}

fn down(place: &Place, names: &[String]) -> Result<(), String> {
    let mut state = State::read(&place.state())?;
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|it| it == name);
    let ending: Vec<_> = SERVERS
        .iter()
        .filter(|server| is_wanted(server.name))
        .filter_map(|server| Some((server, state.get(server.name)?.clone())))
        .collect();
    for (server, entry) in &ending {
        let is_dead = Process::of(entry.directory()).is_none();
        if is_dead && (server.has_remains)(entry.directory()) {
            let cleaned = entry.start();
            // What cannot be started is removed all the same.
            if let Err(why) = cleaned.and_then(|()| wait_until_ready(server, &mut state, place)) {
                say(why);
            }
        }
        if let Some(process) = Process::of(entry.directory()) {
            process.signal(server.farewell)?;
        }
    }
    for (server, entry) in ending {
        wait_for_end(&entry)?;
        (server.clean_up)(&entry)?;
        remove_directory(entry.directory())?;
        state.remove(server.name, &place.state())?;
        say(format_args!("{} is down", server.name));
    }
    Ok(())
}

/// Waits for a server that was told to end, and kills it when it does not.
fn wait_for_end(entry: &Entry) -> Result<(), String> {
    let Some(process) = Process::of(entry.directory()) else {
        return Ok(());
    };
    if process.ends_within(Duration::from_secs(END_SECONDS_MAX)) {
        return Ok(());
    }
    say(format_args!("{} does not end: killing it", entry.name));
    process.signal(Signal::Kill)?;
    if process.ends_within(Duration::from_secs(END_SECONDS_MAX)) {
        Ok(())
    } else {
        Err(format!(
            "{} (process {}) outlives SIGKILL",
            entry.name,
            process.pid()
        ))
    }
}

fn restart(place: &Place, name: &str, kill: bool) -> Result<(), String> {
    let begin = Instant::now();
    let mut state = State::read(&place.state())?;
    let server = SERVERS.iter().find(|server| server.name == name);
    let (Some(server), Some(entry)) = (server, state.get(name).cloned()) else {
        return Err(format!(
            "{name} was not started: `cargo xtask services up {name}`"
        ));
    };
    if let Some(process) = Process::of(entry.directory()) {
        process.signal(if kill { Signal::Kill } else { server.farewell })?;
        wait_for_end(&entry)?;
    }
    entry.start()?;
    wait_until_ready(server, &mut state, place)?;
    let took = begin.elapsed().as_secs_f64();
    say(format_args!("{name} answers again after {took:.2} s"));
    Ok(())
}

fn status(place: &Place, as_json: bool) -> Result<(), String> {
    let state = State::read(&place.state())?;
    if as_json {
        say(state.status())
    } else {
        say(table::of(&state))
    }
    Ok(())
}
