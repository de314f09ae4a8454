//! Redis, from Debian.

use std::path::Path;

use crate::launch::{Launch, write};
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::Program;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

pub(crate) const SERVER: Server = Server {
    name: "redis",
    started: Started::Always,
    ports: 1,
    origin: Origin::Debian {
        program: "redis-server",
        package: "redis-server",
    },
    set_up,
    probe: Probe {
        words: b"PING\r\n",
        // While it loads its data, it answers -LOADING.
        is_answer: |answer| answer.starts_with(b"+PONG"),
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let port = first(ports)?;
    let settings = format!(
        "bind 127.0.0.1\nport {port}\ndaemonize no\n\
         # A write is answered when it is on disk.\nappendonly yes\nappendfsync always\nsave \"\"\n"
    );
    write(&directory.join("redis.conf"), &settings)?;
    let url = format!("redis://127.0.0.1:{port}");
    Ok(Launch::new(
        url,
        [&program.path.to_string_lossy(), "redis.conf"],
    ))
}
