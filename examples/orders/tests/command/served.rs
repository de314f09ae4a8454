//! The log is one process's, and the services are others that reach it there: `ensue://host:port`. Processes
//! are killed, the server too, and what comes of it is what comes of it in one process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::disallowed_types, reason = "it looks for a free port")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ensue::Engine;
use ensue_server::Server;
use serde_json::json;
use servers::Running;

use crate::drill::Drill;
use crate::expected::{drill_to, made_up};

/// The log's directory, and the address, of a server that is this test again.
const DIRECTORY: &str = "ORDERS_SERVED_DIRECTORY";
const ADDRESS: &str = "ORDERS_SERVED_ADDRESS";
/// How many processes are killed, and how often the server is; more for those who have the time.
const KILLS: &str = "ORDERS_KILLS";
const OUTAGES: &str = "ORDERS_OUTAGES";

#[test]
fn killed_now_and_then_it_comes_to_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse().unwrap());
    let server = server(directory.path());
    server.start();
    let orders = made_up(500);
    let drill = Drill {
        server: server.clone(),
        orders: orders.arguments,
        kills: number(KILLS).unwrap_or(5),
        outages: number(OUTAGES).unwrap_or(1),
        limit: Duration::from_secs(1_800),
    };
    drill_to(drill, &orders.expected);
    server.kill();
}

/// A server of a log in this directory, which can be killed and started again.
fn server(directory: &Path) -> Running {
    let address = format!("127.0.0.1:{}", free_port());
    let start = directory.join("start.sh");
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\ncd '{place}'\necho \"$$ $(cut -d ' ' -f 22 /proc/$$/stat)\" > process\n\
         {DIRECTORY}='{place}/log' {ADDRESS}={address} exec '{program}' --exact served::a_server\n",
        place = directory.display(),
        program = program.display(),
    );
    std::fs::write(&start, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&start, executable).unwrap();
    let url = format!("ensue://{address}");
    let running = json!({ "name": "ensue", "version": "", "url": url, "start": start });
    serde_json::from_value(running).unwrap()
}

/// Below those that outgoing connections get: one of them could have it while the server is away.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    ports.find(is_free).unwrap()
}

/// What the server does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server() {
    let (Ok(directory), Ok(address)) = (std::env::var(DIRECTORY), std::env::var(ADDRESS)) else {
        return;
    };
    let engine = Engine::open(&format!("embedded:{directory}"))
        .await
        .unwrap();
    Server::new(engine)
        .listen(&address)
        .unwrap()
        .run()
        .await
        .unwrap();
}
