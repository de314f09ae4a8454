//! PostgreSQL, from Debian. It refuses to run as root: then it runs as the user that Debian made
//! for it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::launch::{Launch, write};
use crate::package::is_ci;
use crate::package::is_root;
use crate::place::Place;
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, major_minor, run, version};
use crate::secret::random_word;
use crate::server::{Origin, Server, Started, nothing_to_clean_up};

const USER: &str = "postgres";
const POOLER: &str = "/usr/sbin/pgbouncer";
/// The role and the database.
const NAME: &str = "ensue";
/// Since then, it can sync its whole file system at once.
const SYNCFS_OLDEST: u32 = 14;

pub(crate) const SERVER: Server = Server {
    name: "postgres",
    started: Started::Always,
    ports: 1,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: Probe {
        // Length, protocol 3.0, user and database.
        words: b"\x00\x00\x00\x23\x00\x03\x00\x00user\0ensue\0database\0ensue\0\0",
        // It asks for the password. While it starts, it answers with an error.
        is_answer: |answer| answer.starts_with(b"R"),
    },
    farewell: Signal::Interrupt,
    // Shared memory, of System V and in /dev/shm.
    has_remains: |directory| directory.join("data/postmaster.pid").exists(),
    clean_up: nothing_to_clean_up,
};

fn missing(_: &Place) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if programs().is_none() {
        packages.push("postgresql");
    }
    // A test starts it in front of the server; elsewhere that test says that it was skipped.
    if is_ci() && !Path::new(POOLER).exists() {
        packages.push("pgbouncer");
    }
    packages
}

/// The directory of its programs: Debian has one for each version, of which the newest counts.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").is_file())
        .max_by_key(number);
    let elsewhere = || find("postgres")?.parent().map(Path::to_path_buf);
    newest.map(|path| path.join("bin")).or_else(elsewhere)
}

fn obtain(_: &Place) -> Result<Program, String> {
    let path = programs().ok_or("there is no PostgreSQL")?.join("postgres");
    Ok(Program::new(version(&path, "--version")?, path))
}

/// What stands before a command that must not run as root.
fn as_user() -> &'static [&'static str] {
    if is_root() {
        &[
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            "--",
        ]
    } else {
        &["env", "--"]
    }
}

/// A command of PostgreSQL's, run as it must be.
fn command(program: &Path, directory: &Path) -> Command {
    let mut words = as_user().iter();
    let mut command = Command::new(words.next().copied().unwrap_or("env"));
    command.args(words).arg(program).current_dir(directory);
    command.env("LC_ALL", "C.UTF-8");
    command
}

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let port = first(ports)?;
    let password = random_word()?;
    let postgres = &program.path;
    if is_root() {
        run(Command::new("chown").arg(format!("{USER}:")).arg(directory))?;
    }
    let mut test = command(Path::new("test"), Path::new("/"));
    run(test.args(["-w".as_ref(), directory.as_os_str()])).map_err(|_| {
        format!(
            "the user {USER} cannot enter {}: set CARGO_TARGET_DIR to a directory that it can enter",
            directory.display()
        )
    })?;
    let secret = directory.join("password");
    write(&secret, &password)?;
    let mut initdb = command(&postgres.with_file_name("initdb"), directory);
    initdb.args(["-D", "data", "-U", NAME, "-E", "UTF8", "--locale=C"]);
    initdb.args(["--auth=scram-sha-256", "--pwfile=password", "--no-sync"]);
    run(&mut initdb)?;
    add_settings(
        &directory.join("data/postgresql.conf"),
        &settings(port, &program.version),
    )?;
    create_database(postgres, directory)?;

    let url = format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}");
    let postgres = postgres.to_string_lossy();
    let mut launch = Launch::new(url, []);
    let words = as_user().iter().copied();
    let words = words.chain([&*postgres, "-D", "data"]);
    launch.command = words.map(str::to_owned).collect();
    launch.before = END_OF_THE_LAST;
    Ok(launch)
}

/// After SIGKILL its children end by themselves, but not at once. They all work in the data
/// directory; when none does, the lock that the killed server left has no owner. It would be taken
/// for a living one's as long as the killed process's parent has not noticed its end.
const END_OF_THE_LAST: &str = "\
looks=0
while [ $looks -lt 600 ] && ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -qF \" -> $PWD/data\"; do
    looks=$((looks + 1))
    sleep 0.1
done
[ $looks -eq 600 ] || rm -f data/postmaster.pid
";

fn settings(port: u16, version: &str) -> String {
    let sync = if major_minor(version).0 >= SYNCFS_OLDEST {
        "# After SIGKILL it syncs every file that it has, one by one unless it is told otherwise: for\n\
             # seconds, on a busy disk.\nrecovery_init_sync_method = syncfs\n"
    } else {
        ""
    };
    format!(
        "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
         max_connections = 200\nshared_buffers = 64MB\nfsync = on\nsynchronous_commit = on\n{sync}\
         # Changes can be followed.\nwal_level = logical\n"
    )
}

fn add_settings(file: &Path, settings: &str) -> Result<(), String> {
    let added = OpenOptions::new()
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(settings.as_bytes()));
    added.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Without a server: there is nothing to wait for.
fn create_database(postgres: &Path, directory: &Path) -> Result<(), String> {
    let cannot = |error| format!("cannot create the database: {error}");
    let mut single = command(postgres, directory);
    single.args(["--single", "-D", "data", "postgres"]);
    single
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = single.spawn().map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "CREATE DATABASE {NAME}").map_err(cannot)?;
    }
    let output = child.wait_with_output().map_err(cannot)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !said.contains("ERROR") {
        Ok(())
    } else {
        Err(format!("cannot create the database: {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_not_told_what_it_does_not_know() {
        assert!(settings(5432, "15.18").contains("syncfs"));
        assert!(!settings(5432, "13.9").contains("syncfs"));
    }

    #[test]
    fn the_probe_is_as_long_as_it_says() {
        let words = SERVER.probe.words;
        assert_eq!(words.len(), 0x23);
        let name = format!("user\0{NAME}\0database\0{NAME}\0");
        assert!(
            words
                .windows(name.len())
                .any(|part| part == name.as_bytes())
        );
    }
}
