//! NATS with JetStream: a current server, built from its Go module, and the oldest supported one,
//! from Debian.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::{Launch, write};
use crate::place::Place;
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, major_minor, run, version};
use crate::say::say;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

const PROGRAM: &str = "nats-server";
const MODULE: &str = "github.com/nats-io/nats-server/v2";
const VERSION: &str = "2.12.15";
/// Since then, Go fetches the toolchain that a module asks for.
const GO_OLDEST: (u32, u32) = (1, 21);
/// Since then, JetStream can be told to sync every write.
const SYNC_OLDEST: (u32, u32) = (2, 10);

const PROBE: Probe = Probe {
    words: b"PING\r\n",
    is_answer: |answer| {
        let info = b"\"jetstream\":true";
        answer.starts_with(b"INFO ") && answer.windows(info.len()).any(|it| it == info)
    },
};

pub(crate) const SERVER: Server = Server {
    name: "nats",
    started: Started::Always,
    ports: 1,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: PROBE,
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

/// What Debian 12 has.
pub(crate) const OLDEST: Server = Server {
    name: "nats-oldest",
    started: Started::ForTests,
    origin: Origin::Own {
        missing: missing_of_debian,
        obtain: obtain_from_debian,
    },
    ..SERVER
};

fn missing(place: &Place) -> Vec<&'static str> {
    if built(place).is_file() || go_to_build(place).is_some() {
        Vec::new()
    } else {
        missing_of_debian(place)
    }
}

fn missing_of_debian(_: &Place) -> Vec<&'static str> {
    match of_debian() {
        Some(_) => Vec::new(),
        None => vec![PROGRAM],
    }
}

/// Not from `PATH`, where a newer one may be.
fn of_debian() -> Option<PathBuf> {
    let mut places = ["/usr/sbin", "/usr/bin"]
        .map(|it| Path::new(it).join(PROGRAM))
        .into_iter();
    places.find(|path| path.is_file())
}

/// A Go that can build it, and may: it fetches the module and what that needs.
fn go_to_build(place: &Place) -> Option<PathBuf> {
    let go = find("go").filter(|_| place.may_install)?;
    let version = version(&go, "version").ok()?;
    (major_minor(&version) >= GO_OLDEST).then_some(go)
}

fn built(place: &Place) -> PathBuf {
    place.programs.join(format!("nats-{VERSION}")).join(PROGRAM)
}

fn obtain(place: &Place) -> Result<Program, String> {
    let built = built(place);
    if built.is_file() {
        return Ok(Program::new(VERSION, built));
    }
    let Some(go) = go_to_build(place) else {
        say(
            "taking Debian's NATS server: a current one is built with Go 1.21 or later, with \
             `--install`",
        );
        return obtain_from_debian(place);
    };
    say(format_args!(
        "building NATS {VERSION}, which takes a minute"
    ));
    // Built beside and moved: what is there is whole.
    let unfinished = place.programs.join("nats.unfinished");
    let mut install = Command::new(go);
    install.args(["install", &format!("{MODULE}@v{VERSION}")]);
    install.env("GOBIN", &unfinished).env("CGO_ENABLED", "0");
    install.current_dir(&place.programs);
    run(&mut install)?;
    let moved = std::fs::create_dir_all(built.parent().unwrap_or(&built))
        .and_then(|()| std::fs::rename(unfinished.join(PROGRAM), &built))
        .and_then(|()| std::fs::remove_dir_all(&unfinished));
    moved.map_err(|error| format!("cannot move what was built: {error}"))?;
    Ok(Program::new(VERSION, built))
}

fn obtain_from_debian(_: &Place) -> Result<Program, String> {
    let path = of_debian().ok_or("there is no nats-server of Debian")?;
    Ok(Program::new(version(&path, "--version")?, path))
}

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let port = first(ports)?;
    write(
        &directory.join("nats.conf"),
        &settings(port, &program.version),
    )?;
    let url = format!("nats://127.0.0.1:{port}");
    Ok(Launch::new(
        url,
        [&program.path.to_string_lossy(), "-c", "nats.conf"],
    ))
}

fn settings(port: u16, version: &str) -> String {
    let sync = if major_minor(version) >= SYNC_OLDEST {
        "    # A publish is acknowledged when it is on disk.\n    sync_interval: always\n"
    } else {
        // It syncs every other minute, and cannot be told otherwise.
        ""
    };
    format!(
        "server_name: ensue\nlisten: \"127.0.0.1:{port}\"\njetstream {{\n    store_dir: data\n    \
         max_memory_store: 256MB\n    max_file_store: 8GB\n{sync}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_not_told_what_it_does_not_know() {
        assert!(settings(4222, "2.12.15").contains("sync_interval: always"));
        assert!(!settings(4222, "2.9.10").contains("sync_interval"));
    }

    #[test]
    fn a_server_without_jetstream_is_not_ready() {
        assert!((PROBE.is_answer)(
            b"INFO {\"version\":\"2\",\"jetstream\":true}\r\n"
        ));
        assert!(!(PROBE.is_answer)(b"INFO {\"version\":\"2\"}\r\nPONG\r\n"));
    }
}
