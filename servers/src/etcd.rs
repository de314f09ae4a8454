//! etcd, from Debian: one member.

use std::path::Path;

use crate::launch::Launch;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::Program;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

pub(crate) const SERVER: Server = Server {
    name: "etcd",
    started: Started::Always,
    ports: 2,
    origin: Origin::Debian {
        program: "etcd",
        package: "etcd-server",
    },
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
