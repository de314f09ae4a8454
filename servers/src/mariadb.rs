//! MariaDB, from Debian's package with the server alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::launch::{Launch, make_directory, write};
use crate::package::is_root;
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::Program;
use crate::secret::random_word;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

/// The user and the database.
const NAME: &str = "ensue";
/// Where packages put the statements that make the tables of the system.
const SHARED: [&str; 2] = ["/usr/share/mysql", "/usr/share/mariadb"];
/// In the order of `mariadb-install-db`, which another package has that needs Perl.
const TABLES: [&str; 4] = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
];
/// The version of the protocol that it greets with.
const PROTOCOL: u8 = 10;

pub(crate) const SERVER: Server = Server {
    name: "mariadb",
    started: Started::Always,
    ports: 1,
    origin: Origin::Debian {
        program: "mariadbd",
        package: "mariadb-server-core",
    },
    set_up,
    probe: Probe {
        // It speaks first: length and number of the packet, then the greeting, or an error.
        words: b"",
        is_answer: |answer| answer.get(4) == Some(&PROTOCOL),
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let port = first(ports)?;
    let password = random_word()?;
    let data = directory.join("data");
    make_directory(&data)?;
    make_system_tables(program, &data, &password)?;
    write(&directory.join("my.cnf"), &settings(port))?;
    let url = format!("mysql://{NAME}:{password}@127.0.0.1:{port}/{NAME}");
    let mut launch = Launch::new(
        url,
        [&program.path.to_string_lossy(), "--defaults-file=my.cnf"],
    );
    launch.command.extend(place_and_user(&data));
    Ok(launch)
}

/// Where its data is, and that it may run as root, if it has to.
fn place_and_user(data: &Path) -> Vec<String> {
    let mut words = vec![format!("--datadir={}", data.display())];
    if is_root() {
        words.push("--user=root".to_owned());
    }
    words
}

fn settings(port: u16) -> String {
    format!(
        "[mariadbd]\nbind-address = 127.0.0.1\nport = {port}\nsocket =\nskip-name-resolve\n\
         character-set-server = utf8mb4\nmax-connections = 200\ninnodb-buffer-pool-size = 64M\n\
         innodb-flush-log-at-trx-commit = 1\nsync-binlog = 1\n\
         # Changes can be followed.\nserver-id = 1\nlog-bin = binlog\nbinlog-format = ROW\n"
    )
}

/// Without a server: there is nothing to wait for.
fn make_system_tables(program: &Program, data: &Path, password: &str) -> Result<(), String> {
    let cannot = |error| format!("cannot make MariaDB's tables: {error}");
    let statements = statements(password)?;
    let mut bootstrap = Command::new(&program.path);
    bootstrap.args(["--no-defaults", "--bootstrap", "--silent-startup"]);
    bootstrap.args(place_and_user(data));
    bootstrap
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = bootstrap.spawn().map_err(cannot)?;
    // It may end before it has read all; then it says why.
    let written = child.stdin.take().map(|mut it| it.write_all(&statements));
    let output = child.wait_with_output().map_err(cannot)?;
    if output.status.success() && matches!(written, Some(Ok(()))) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("cannot make MariaDB's tables: {said}"))
}

/// All tables of the system, and one user: those that come along need no password.
fn statements(password: &str) -> Result<Vec<u8>, String> {
    let shared = SHARED.iter().map(PathBuf::from);
    let mut shared = shared.filter(|it| TABLES.iter().all(|name| it.join(name).is_file()));
    let shared = shared.next().ok_or_else(|| {
        let places = SHARED.join(" and ");
        format!("MariaDB's `{}` is neither in {places}", TABLES.join("`, `"))
    })?;
    let mut all = b"CREATE DATABASE mysql;\nUSE mysql;\n".to_vec();
    for name in TABLES {
        let file = shared.join(name);
        let table = std::fs::read(&file);
        all.extend(table.map_err(|error| format!("cannot read {}: {error}", file.display()))?);
    }
    let ours = format!(
        "\nDELETE FROM mysql.global_priv WHERE User IN ('', 'root');\nFLUSH PRIVILEGES;\n\
         CREATE DATABASE {NAME};\nCREATE USER '{NAME}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{NAME}'@'%' WITH GRANT OPTION;\n"
    );
    all.extend(ours.into_bytes());
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_an_answer_and_an_error_is_none() {
        let is_answer = SERVER.probe.is_answer;
        assert!(is_answer(b"\x5f\0\0\0\x0a10.11.19-MariaDB\0"));
        assert!(!is_answer(b"\x17\0\0\x01\xff\x10\x04Too many connections"));
        assert!(!is_answer(b""));
    }

    #[test]
    fn it_listens_on_loopback_alone_and_syncs() {
        let settings = settings(3306);
        assert!(settings.contains("bind-address = 127.0.0.1\n"));
        assert!(settings.contains("socket =\n"));
        assert!(settings.contains("innodb-flush-log-at-trx-commit = 1\n"));
    }
}
