//! One kind of server: how it is obtained, configured, probed and ended.

use std::path::Path;

use crate::launch::Launch;
use crate::place::Place;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, version};
use crate::state::Entry;

/// When a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// By `up` without a name, and for the tests.
    Always,
    /// For the tests, or when it is named.
    ForTests,
    /// The same, but for the tests nothing of it is installed: it would take them too long.
    ForTestsIfThere,
    /// When it is named: no test talks to it.
    ByName,
}

/// How to get, configure, probe and end one kind of server.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) started: Started,
    /// How many ports it listens on. The first one is for clients.
    pub(crate) ports: usize,
    pub(crate) origin: Origin,
    /// Writes what it needs into its new directory, and says how it is started.
    pub(crate) set_up: fn(&Program, &Path, &[u16]) -> Result<Launch, String>,
    pub(crate) probe: Probe,
    /// Asks it to end in order.
    pub(crate) farewell: Signal,
    /// Whether something of a server that was killed would outlive its directory. It is started
    /// once more then, because it knows best how to remove that.
    pub(crate) has_remains: fn(&Path) -> bool,
    /// Ends what it leaves behind.
    pub(crate) clean_up: fn(&Entry) -> Result<(), String>,
}

/// Where a server comes from.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// It is this program of this Debian package, wherever it was installed from.
    Debian {
        program: &'static str,
        package: &'static str,
    },
    /// It is built, fetched, or looked for elsewhere.
    Own {
        /// Debian packages without which it cannot be obtained.
        missing: fn(&Place) -> Vec<&'static str>,
        /// Finds it, builds it or fetches it.
        obtain: fn(&Place) -> Result<Program, String>,
    },
}

impl Origin {
    /// Debian packages without which it cannot be obtained.
    pub(crate) fn missing(self, place: &Place) -> Vec<&'static str> {
        match self {
            Self::Debian { program, .. } if find(program).is_some() => Vec::new(),
            Self::Debian { package, .. } => vec![package],
            Self::Own { missing, .. } => missing(place),
        }
    }

    /// The program that it is started from.
    pub(crate) fn obtain(self, place: &Place) -> Result<Program, String> {
        match self {
            Self::Debian { program, .. } => {
                let path = find(program).ok_or_else(|| format!("there is no {program}"))?;
                Ok(Program::new(version(&path, "--version")?, path))
            }
            Self::Own { obtain, .. } => obtain(place),
        }
    }
}

/// For servers that keep everything in their directory.
pub(crate) fn no_remains(_: &Path) -> bool {
    false
}

/// For servers that leave nothing behind.
pub(crate) fn nothing_to_clean_up(_: &Entry) -> Result<(), String> {
    Ok(())
}
