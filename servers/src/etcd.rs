//! etcd, from Debian: one member.

use std::path::Path;

use crate::launch::Launch;
use crate::place::Place;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, version};
use crate::server::{Server, no_remains, nothing_to_clean_up};

const PROGRAM: &str = "etcd";

pub(crate) const SERVER: Server = Server {
    name: "etcd",
    is_usual: true,
    ports: 2,
    missing,
    obtain,
    set_up,
    probe: Probe {
        words: b"GET /health HTTP/1.0\r\n\r\n",
        // Healthy is one that has a leader.
        is_answer: |answer| {
            let healthy = b"\"health\":\"true\"";
            answer.windows(healthy.len()).any(|it| it == healthy)
        },
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn missing(_: &Place) -> Vec<&'static str> {
    match find(PROGRAM) {
        Some(_) => Vec::new(),
        None => vec!["etcd-server"],
    }
}

fn obtain(_: &Place) -> Result<Program, String> {
    let path = find(PROGRAM).ok_or("there is no etcd")?;
    Ok(Program::new(version(&path, "--version")?, path))
}

fn set_up(program: &Program, _: &Path, ports: &[u16]) -> Result<Launch, String> {
    let &[clients, peers] = ports else {
        return Err("etcd needs two ports".to_owned());
    };
    let clients_url = format!("http://127.0.0.1:{clients}");
    let peers_url = format!("http://127.0.0.1:{peers}");
    let mut launch = Launch::new(
        format!("etcd://127.0.0.1:{clients}"),
        [&program.path.to_string_lossy()],
    );
    let settings = [
        ("name", "ensue"),
        ("data-dir", "data"),
        ("listen-client-urls", &clients_url),
        ("advertise-client-urls", &clients_url),
        ("listen-peer-urls", &peers_url),
        ("initial-advertise-peer-urls", &peers_url),
        ("initial-cluster", &format!("ensue={peers_url}")),
    ];
    let words = settings.map(|(name, value)| format!("--{name}={value}"));
    launch.command.extend(words);
    Ok(launch)
}
