//! Programs: where they are, and how to run those that set a server up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tail::tail;

/// What a server is started from.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) version: String,
    pub(crate) path: PathBuf,
    /// What else it consists of, where the program alone is not enough.
    pub(crate) parts: PathBuf,
}

impl Program {
    pub(crate) fn new(version: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            version: version.into(),
            path: path.into(),
            parts: PathBuf::new(),
        }
    }
}

/// Where a program is: in `PATH`, or where Debian puts servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let directories = std::env::split_paths(&path).chain(debian);
    let mut files = directories.map(|directory| directory.join(name));
    files.find(|file| file.is_file())
}

/// The number in what a program says about its version, which may be on stderr.
pub(crate) fn version(program: &Path, flag: &str) -> Result<String, String> {
    let output = Command::new(program).arg(flag).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    number_in(&String::from_utf8_lossy(&said))
        .ok_or_else(|| format!("`{} {flag}` tells no version", program.display()))
}

/// The first thing that looks like `1.2`, `v1.2.3`, `go1.2` or `v=1.2.3`; without what follows behind a dash, which says
/// who has built it.
fn number_in(said: &str) -> Option<String> {
    let words = said.split(|c: char| c.is_whitespace() || "=\"(),-".contains(c));
    let mut numbers = words.map(|word| word.trim_start_matches(|c: char| c.is_ascii_alphabetic()));
    let is_version = |it: &&str| {
        it.starts_with(|c: char| c.is_ascii_digit())
            && it.contains('.')
            && it.split('.').all(|part| !part.is_empty())
    };
    numbers.find(is_version).map(str::to_owned)
}

/// The first two parts of a version, as numbers.
pub(crate) fn major_minor(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next())
}

/// Runs a command that says nothing unless it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(format!("{name} failed: {}\n{}", output.status, tail(&said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_each_program_says() {
        let said = [
            ("Redis server v=7.0.15 sha=00000000:0 bits=64", "7.0.15"),
            ("nats-server: v2.12.15", "2.12.15"),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                "15.18",
            ),
            ("openjdk version \"17.0.15\" 2025-04-15", "17.0.15"),
            (
                "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64",
                "10.11.19",
            ),
            ("etcd Version: 3.4.23\nGit SHA: Not provided", "3.4.23"),
            ("memcached 1.6.18", "1.6.18"),
            ("go version go1.26.8 linux/amd64", "1.26.8"),
        ];
        for (said, number) in said {
            assert_eq!(number_in(said).as_deref(), Some(number));
        }
        assert_eq!(number_in("no such flag."), None);
        assert_eq!(major_minor("17.0.15"), (17, 0));
        assert_eq!(major_minor("1.26.8"), (1, 26));
        assert_eq!(major_minor("15"), (15, 0));
    }

    #[test]
    fn a_command_that_fails_tells_why() {
        let failed = run(Command::new("sh").args(["-c", "echo no room >&2; exit 3"])).unwrap_err();
        assert!(
            failed.contains("no room") && failed.contains('3'),
            "{failed}"
        );
        assert!(run(&mut Command::new("/nowhere/at/all")).is_err());
    }
}
