//! Restate, from npm: a single node, beside which the server is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::{Launch, write};
use crate::place::Place;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, run};
use crate::say::say;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

const PACKAGE: &str = "@restatedev/restate-server";
const PROGRAM: &str = "restate-server";
const VERSION: &str = "1.7.12";

pub(crate) const SERVER: Server = Server {
    name: "restate",
    started: Started::ByName,
    // Clients, administration, other nodes.
    ports: 3,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: Probe {
        words: b"GET /restate/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        is_answer: |answer| answer.starts_with(b"HTTP/1.1 200"),
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn missing(place: &Place) -> Vec<&'static str> {
    if fetched(place).is_ok() || find("npm").is_some() {
        Vec::new()
    } else {
        vec!["npm"]
    }
}

fn home(place: &Place) -> PathBuf {
    place.programs.join(format!("restate-{VERSION}"))
}

/// npm's package of this machine's kind has the program.
fn fetched(place: &Place) -> Result<PathBuf, String> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => return Err(format!("npm has no Restate for {other}")),
    };
    let package = format!("{PACKAGE}-{}-{machine}", std::env::consts::OS);
    let path = home(place).join("node_modules").join(package);
    let path = path.join("bin").join(PROGRAM);
    let missing = || format!("{} is missing", path.display());
    path.is_file().then(|| path.clone()).ok_or_else(missing)
}

fn obtain(place: &Place) -> Result<Program, String> {
    if let Ok(path) = fetched(place) {
        return Ok(Program::new(VERSION, path));
    }
    let Some(npm) = find("npm").filter(|_| place.may_install) else {
        return Err("Restate is fetched from npm, with `--install`".to_owned());
    };
    say(format_args!("fetching Restate {VERSION}, 220 MB"));
    // Its script would tell its makers who installs it.
    let mut install = Command::new(npm);
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
    install.arg("--prefix").arg(home(place));
    run(install.arg(format!("{PACKAGE}@{VERSION}")))?;
    Ok(Program::new(VERSION, fetched(place)?))
}

/// Its address names the administration's port, too: services are registered there.
fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let [ingress, admin, node] = *ports else {
        return Err("Restate needs three ports".to_owned());
    };
    write(
        &directory.join("restate.toml"),
        &settings(ingress, admin, node),
    )?;
    let url = format!("http://127.0.0.1:{ingress}/?admin={admin}");
    Ok(Launch::new(
        url,
        [
            &program.path.to_string_lossy(),
            "--no-logo",
            "--config-file",
            "restate.toml",
        ],
    ))
}

/// As it comes, which syncs what it is told before it says so; that is said, too.
fn settings(ingress: u16, admin: u16, node: u16) -> String {
    format!(
        "node-name = \"ensue\"\nbase-dir = \"data\"\ndisable-telemetry = true\nlisten-mode = \"tcp\"\n\
         bind-address = \"127.0.0.1:{node}\"\nadvertised-address = \"http://127.0.0.1:{node}/\"\n\
         log-disable-ansi-codes = true\n\n\
         [ingress]\nbind-address = \"127.0.0.1:{ingress}\"\n\n\
         [admin]\nbind-address = \"127.0.0.1:{admin}\"\n\n\
         [log-server]\nrocksdb-disable-wal-fsync = false\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_alone_and_syncs() {
        let settings = settings(1, 2, 3);
        assert_eq!(settings.matches("bind-address = \"127.0.0.1:").count(), 3);
        assert!(settings.contains("rocksdb-disable-wal-fsync = false"));
    }

    #[test]
    fn only_a_healthy_one_is_ready() {
        assert!((SERVER.probe.is_answer)(b"HTTP/1.1 200 OK\r\n"));
        assert!(!(SERVER.probe.is_answer)(
            b"HTTP/1.1 503 Service Unavailable\r\n"
        ));
    }
}
