//! How a server is started: by a script in its directory that becomes the server, so that a test can
//! start it again with nothing but the script.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::process;
use crate::program::run;

pub(crate) const SCRIPT: &str = "start.sh";
pub(crate) const LOG: &str = "log";

/// The search path of every server: it does not depend on who starts it.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A server's command with its whole environment, run in its directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    /// Where clients find the server.
    pub(crate) url: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) command: Vec<String>,
    /// Lines of shell that run before it.
    pub(crate) before: &'static str,
}

impl Launch {
    pub(crate) fn new<const N: usize>(url: String, command: [&str; N]) -> Self {
        let always = [("PATH", SEARCH_PATH), ("LC_ALL", "C.UTF-8")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            url,
            environment: always.map(own).into(),
            command: command.map(str::to_owned).into(),
            before: "",
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// Writes the script. Running it gives a process that is the server: the shell replaces
    /// itself, and its id and start time stay the same.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), String> {
        let script = directory.join(SCRIPT);
        write(&script, &self.script(directory))?;
        run(Command::new("chmod").arg("755").arg(&script))
    }

    fn script(&self, directory: &Path) -> String {
        let mut script = String::from(
            "#!/bin/sh\n# Becomes the server: same process id, output in `log`. Made by cargo xtask services.\n",
        );
        let home = quoted(&directory.to_string_lossy());
        let file = process::FILE;
        // Writing to a String does not fail.
        let _ = write!(
            script,
            "cd {home} || exit 1\nexec >>{LOG} 2>&1 </dev/null\n{before}\
             read -r stat </proc/$$/stat\nset -- ${{stat##*) }}\nshift 19\n\
             echo \"$$ $1\" >{file}.new && mv {file}.new {file}\nexec env -i",
            before = self.before,
        );
        for (name, value) in &self.environment {
            let _ = write!(script, " \\\n    {name}={}", quoted(value));
        }
        for word in &self.command {
            let _ = write!(script, " \\\n    {}", quoted(word));
        }
        script.push('\n');
        script
    }
}

/// A directory that only its owner can read: it may hold passwords.
pub(crate) fn make_directory(directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory)
        .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    run(Command::new("chmod").arg("700").arg(directory))
}

pub(crate) fn write(file: &Path, content: &str) -> Result<(), String> {
    std::fs::write(file, content)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// A word of shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::Process;

    fn scratch(name: &str) -> std::path::PathBuf {
        let name = format!("ensue-launch-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn the_script_becomes_the_server_with_exactly_its_words_and_environment() {
        let directory = scratch("it's a test");
        let told = r#"printf '%s\n' "$1" "$PLACE" "$HOME"; exec sleep 3600"#;
        let mut launch = Launch::new(
            String::new(),
            ["sh", "-c", told, "sh", "two  words, 'quoted' $HOME"],
        );
        launch.set("PLACE", "a \"b\"");
        launch.write(&directory).unwrap();
        // Not run by itself: a child that another test started meanwhile may hold it open, and what is
        // open for writing cannot be run.
        let script = directory.join(SCRIPT);
        let mut child = Command::new("sh").arg(script).spawn().unwrap();
        let log = directory.join(LOG);
        // HOME is ours, not the server's.
        let words = "two  words, 'quoted' $HOME\na \"b\"\n\n";
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        while said().len() < words.len() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let process = Process::of(&directory).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.pid(), child.id());
        assert_eq!(said(), words);
        assert_eq!(Process::of(&directory), None);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
