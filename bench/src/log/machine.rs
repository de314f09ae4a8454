//! What it was measured on.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The machine and the versions, as far as they can be found out.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) filesystem: String,
    /// The compiler that is there now, which built this if nothing has changed since.
    pub(crate) compiler: String,
    pub(crate) ensue: &'static str,
    pub(crate) peers: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look(directory: &Path, peers: &[&'static str]) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.split(' ').next().and_then(|it| it.parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: kibibytes.unwrap_or(0.0) / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem(directory, &read("/proc/mounts")),
            compiler: compiler(),
            ensue: env!("CARGO_PKG_VERSION"),
            peers: peers.iter().map(|name| (*name, version(name))).collect(),
        }
    }
}

impl Machine {
    /// What it is compared to, with their versions.
    pub(crate) fn peers(&self) -> String {
        let peers = self.peers.iter();
        let peers: Vec<_> = peers.map(|(name, it)| format!("{name} {it}")).collect();
        peers.join(", ")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores ({}), {:.0} GiB, Linux {}, {}; {}; ensue {}",
            self.cores,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.filesystem,
            self.compiler,
            self.ensue
        )
    }
}

/// The kind of the filesystem that `directory` is on: that of the longest mount point above it.
fn filesystem(directory: &Path, mounts: &str) -> String {
    let directory = directory.canonicalize().unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        directory.starts_with(point).then_some((point.len(), kind))
    });
    let (_, kind) = mounts
        .max_by_key(|(length, _)| *length)
        .unwrap_or((0, "unknown"));
    kind.to_owned()
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// The version that was built, from the lock file.
fn version(name: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let after = lock
        .split(&format!("name = \"{name}\"\nversion = \""))
        .nth(1);
    let version = after.and_then(|after| after.split('"').next());
    version.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_point_says_which_filesystem_it_is() {
        let mounts = "disk / ext4 rw 0 0\nnone /proc proc rw 0 0\n";
        assert_eq!(filesystem(Path::new("/proc/self"), mounts), "proc");
        assert_eq!(filesystem(Path::new("/"), mounts), "ext4");
    }

    #[test]
    fn the_versions_of_the_peers_are_in_the_lock_file() {
        assert!(!version("redb").is_empty());
        assert!(version("no such crate").is_empty());
    }
}
