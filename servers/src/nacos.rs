//! Nacos, as r-nacos: the same API by another hand, as one server. Nacos' own server is in no registry that
//! can be fetched from. It is built from crates.io, which takes minutes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::Launch;
use crate::place::{Place, remove_directory};
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, run};
use crate::say::say;
use crate::secret::random_word;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

const PROGRAM: &str = "rnacos";
const VERSION: &str = "0.8.8";
const USER: &str = "ensue";

pub(crate) const SERVER: Server = Server {
    name: "nacos",
    // To build it takes longer than all its tests.
    started: Started::ForTestsIfThere,
    // Clients, gRPC and other servers, the console.
    ports: 3,
    origin: Origin::Own {
        missing: |_| Vec::new(),
        obtain,
    },
    set_up,
    probe: Probe {
        words: b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        is_answer: |answer| answer.starts_with(b"HTTP/1.1 200"),
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn home(place: &Place) -> PathBuf {
    place.programs.join(format!("{PROGRAM}-{VERSION}"))
}

fn obtain(place: &Place) -> Result<Program, String> {
    let path = home(place).join("bin").join(PROGRAM);
    if path.is_file() {
        return Ok(Program::new(VERSION, path));
    }
    let Some(cargo) = find("cargo").filter(|_| place.may_install) else {
        return Err("r-nacos is built from crates.io, with `--install` and cargo".to_owned());
    };
    say(format_args!(
        "building r-nacos {VERSION} from crates.io: minutes"
    ));
    let building = home(place).with_extension("building");
    let mut install = Command::new(cargo);
    // Without optimisation: it takes half as long, and no test waits for its processor.
    install.args(["install", PROGRAM, "--version", VERSION]);
    install.args(["--locked", "--debug", "--quiet", "--root"]);
    install.arg(home(place));
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.env("CARGO_TARGET_DIR", &building);
    run(&mut install)?;
    remove_directory(&building)?;
    Ok(Program::new(VERSION, path))
}

fn set_up(program: &Program, _: &Path, ports: &[u16]) -> Result<Launch, String> {
    let &[clients, peers, console] = ports else {
        return Err("r-nacos needs three ports".to_owned());
    };
    let password = random_word()?;
    let mut launch = Launch::new(
        format!("nacos://{USER}:{password}@127.0.0.1:{clients}"),
        [&program.path.to_string_lossy()],
    );
    launch.set("RNACOS_ENABLE_OPEN_API_AUTH", "true");
    launch.set("RNACOS_INIT_ADMIN_USERNAME", USER);
    launch.set("RNACOS_INIT_ADMIN_PASSWORD", password);
    for (name, value) in settings(clients, peers, console) {
        launch.set(name, value);
    }
    Ok(launch)
}

fn settings(clients: u16, peers: u16, console: u16) -> [(&'static str, String); 6] {
    let loopback = || "127.0.0.1".to_owned();
    [
        ("RNACOS_SDK_HOST", loopback()),
        ("RNACOS_CONSOLE_HOST", loopback()),
        ("RNACOS_HTTP_PORT", clients.to_string()),
        ("RNACOS_GRPC_PORT", peers.to_string()),
        ("RNACOS_HTTP_CONSOLE_PORT", console.to_string()),
        ("RNACOS_DATA_DIR", "data".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_alone() {
        let settings = settings(1, 2, 3);
        let hosts = settings.iter().filter(|(name, _)| name.ends_with("_HOST"));
        assert!(hosts.clone().all(|(_, host)| host == "127.0.0.1"));
        assert_eq!(hosts.count(), 2);
    }
}
