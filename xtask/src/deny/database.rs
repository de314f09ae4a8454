//! A copy of the advisory database, where the database itself cannot be fetched.
//!
//! cargo-deny takes advisories from a Git repository alone. So the copy, which is a directory, is
//! committed to a repository below `target/advisories`, and Git is told to fetch that one.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::SETTINGS;
use crate::cargo::{root, target};

/// Where a copy may be, beside the checkout.
const BESIDE: &str = "../shared/advisory-db";
/// Where cargo-deny believes to fetch from.
const UPSTREAM: &str = "https://github.com/RustSec/advisory-db";
/// Under this heading of the settings goes where the database is kept: not where the real one is.
const HEADING: &str = "[advisories]\n";

/// The copy, if there is one.
pub(super) fn copy_beside() -> Option<PathBuf> {
    let copy = root().join(BESIDE).canonicalize().ok()?;
    copy.join("crates").is_dir().then_some(copy)
}

/// A repository made from a copy.
#[derive(Debug)]
pub(super) struct Database {
    repository: PathBuf,
    /// Those of the workspace, with a place for this database.
    pub(super) settings: PathBuf,
}

impl Database {
    pub(super) fn of(copy: &Path) -> Result<Self, String> {
        let place = std::path::absolute(target().join("advisories"))
            .map_err(|error| format!("where is the target directory? {error}"))?;
        let database = Self {
            repository: place.join("repository"),
            settings: place.join(SETTINGS),
        };
        // What an earlier run left may be of another copy.
        if place.exists() {
            std::fs::remove_dir_all(&place)
                .map_err(|error| format!("cannot remove {}: {error}", place.display()))?;
        }
        std::fs::create_dir_all(&database.repository)
            .map_err(|error| format!("cannot make {}: {error}", place.display()))?;
        let commit = [
            "-c",
            "user.name=xtask",
            "-c",
            "user.email=xtask@localhost",
            "commit",
            "--quiet",
            "--no-gpg-sign",
            "--message",
            "a copy",
        ];
        database.git(copy, &["init", "--quiet", "--initial-branch", "main"])?;
        database.git(copy, &["add", "--all"])?;
        database.git(copy, &commit)?;
        database.write_settings(&place.join("fetched"))?;
        Ok(database)
    }

    fn git(&self, copy: &Path, args: &[&str]) -> Result<(), String> {
        let mut git = Command::new("git");
        git.args(["-c", "core.hooksPath=/dev/null", "--git-dir"]);
        git.arg(&self.repository).arg("--work-tree").arg(copy);
        let output = git.args(args).output();
        let output = output.map_err(|error| format!("cannot run git: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "git {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim_end()
            ))
        }
    }

    fn write_settings(&self, fetched: &Path) -> Result<(), String> {
        let own = root().join(SETTINGS);
        let text = std::fs::read_to_string(&own)
            .map_err(|error| format!("cannot read {}: {error}", own.display()))?;
        if !text.contains(HEADING) {
            return Err(format!("{SETTINGS} has no heading {}", HEADING.trim_end()));
        }
        let here = format!("{HEADING}db-path = {fetched:?}\n");
        std::fs::write(&self.settings, text.replacen(HEADING, &here, 1))
            .map_err(|error| format!("cannot write {}: {error}", self.settings.display()))
    }

    /// A command whose Git fetches this database in place of the real one.
    pub(super) fn serve(&self, mut command: Command) -> Command {
        let here = format!("url.file://{}.insteadOf", self.repository.display());
        command.env("GIT_CONFIG_COUNT", "1");
        command.env("GIT_CONFIG_KEY_0", here);
        command.env("GIT_CONFIG_VALUE_0", UPSTREAM);
        command
    }
}
