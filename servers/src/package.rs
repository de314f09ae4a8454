//! Debian packages of what is missing.

use std::path::Path;
use std::process::Command;

use crate::program::{find, run};
use crate::say::say;

/// Debian asks this script before it starts a service that was just installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The script's word for no.
const FORBIDDEN: &str = "#!/bin/sh\nexit 101\n";

/// Installs packages where that was asked for and is possible: as root, with apt-get. Elsewhere it
/// says what to do.
pub(crate) fn install(mut packages: Vec<&'static str>, may_install: bool) -> Result<(), String> {
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let can_install = is_root() && find("apt-get").is_some();
    if !may_install || !can_install {
        return Err(missing(&list, can_install));
    }
    say(format_args!("installing Debian packages: {list}"));
    let _policy = Policy::forbid_services()?;
    run(apt().arg("update"))?;
    run(apt()
        .args(["install", "--no-install-recommends"])
        .args(packages))
}

/// Whether this is continuous integration, in which what is missing fails.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false")
}

/// What to do about packages that are not there.
fn missing(list: &str, can_install: bool) -> String {
    if can_install {
        format!("not installed: {list}. With `--install` it is installed from Debian")
    } else {
        format!(
            "not installed: {list}. As root on Debian or Ubuntu: apt-get install \
             --no-install-recommends {list}. Or start only servers that are there, or use \
             deploy/compose.yaml"
        )
    }
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-y"]);
    apt
}

/// Who owns our own directory in `/proc` is who we are.
#[cfg(unix)]
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(not(unix))]
pub(crate) fn is_root() -> bool {
    false
}

/// While this lives, packages do not start their services: ours are started by us, on our ports.
/// A policy that the machine already has stays as it is.
struct Policy {
    is_ours: bool,
}

impl Policy {
    fn forbid_services() -> Result<Self, String> {
        let is_ours = !Path::new(POLICY).exists();
        if is_ours {
            let written = std::fs::write(POLICY, FORBIDDEN)
                .map_err(|error| format!("cannot write {POLICY}: {error}"));
            let policy = Self { is_ours };
            written?;
            run(Command::new("chmod").args(["755", POLICY]))?;
            return Ok(policy);
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            say(format_args!("!!! remove {POLICY} by hand: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_installed_unless_it_was_asked_for() {
        let not_there = vec!["no-package-of-this-name", "no-package-of-this-name"];
        let why = install(not_there, false).unwrap_err();
        assert!(
            why.contains("not installed: no-package-of-this-name."),
            "{why}"
        );
        assert!(missing("redis", true).contains("--install"));
        assert!(missing("redis", false).contains("As root"));
        assert_eq!(install(Vec::new(), false), Ok(()));
    }
}
