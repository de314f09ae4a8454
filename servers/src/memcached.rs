//! Memcached, from Debian. It keeps nothing on disk.

use std::path::Path;

use crate::launch::Launch;
use crate::package::is_root;
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::Program;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

pub(crate) const SERVER: Server = Server {
    name: "memcached",
    started: Started::Always,
    ports: 1,
    origin: Origin::Debian {
        program: "memcached",
        package: "memcached",
    },
    set_up,
    probe: Probe {
        words: b"version\r\n",
        is_answer: |answer| answer.starts_with(b"VERSION "),
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn set_up(program: &Program, _: &Path, ports: &[u16]) -> Result<Launch, String> {
    let port = first(ports)?;
    let url = format!("memcached://127.0.0.1:{port}");
    let port = port.to_string();
    let program = program.path.to_string_lossy();
    // In megabytes; no UDP.
    let command = [
        &program,
        "-l",
        "127.0.0.1",
        "-p",
        &port,
        "-U",
        "0",
        "-m",
        "64",
    ];
    let mut launch = Launch::new(url, command);
    if is_root() {
        launch.command.extend(["-u", "nobody"].map(str::to_owned));
    }
    Ok(launch)
}
