//! Apache ZooKeeper as one server, from Maven Central: Debian's package brings a desktop's Java.

use std::path::{Path, PathBuf};

use crate::launch::{Launch, write};
use crate::maven::{self, Artifact};
use crate::place::Place;
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::Program;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

const VERSION: &str = "3.9.4";
/// It does not start without what it calls provided; versions are those of its own distribution.
const ARTIFACTS: [Artifact; 4] = [
    Artifact {
        group: "org.apache.zookeeper",
        name: "zookeeper",
        version: VERSION,
    },
    Artifact {
        group: "org.slf4j",
        name: "slf4j-simple",
        version: "2.0.13",
    },
    Artifact {
        group: "io.dropwizard.metrics",
        name: "metrics-core",
        version: "4.1.12.1",
    },
    Artifact {
        group: "org.xerial.snappy",
        name: "snappy-java",
        version: "1.1.10.5",
    },
];
/// Sessions live at least twice, and at most 20 times as long.
const TICK_MILLIS: u32 = 500;

pub(crate) const SERVER: Server = Server {
    name: "zookeeper",
    started: Started::Always,
    ports: 1,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: Probe {
        words: b"srvr",
        // One that does not serve yet answers as well.
        is_answer: |answer| {
            let mode = b"\nMode: ";
            answer.windows(mode.len()).any(|it| it == mode)
        },
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn missing(place: &Place) -> Vec<&'static str> {
    maven::missing(&jars(place))
}

fn jars(place: &Place) -> PathBuf {
    place.programs.join(format!("zookeeper-{VERSION}"))
}

fn obtain(place: &Place) -> Result<Program, String> {
    let java = maven::java().ok_or("there is no Java since 17")?;
    let jars = jars(place);
    maven::fetch(place, "ZooKeeper", VERSION, &ARTIFACTS, &jars)?;
    Ok(Program {
        parts: jars,
        ..Program::new(VERSION, java)
    })
}

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let port = first(ports)?;
    write(&directory.join("zoo.cfg"), &settings(port))?;
    let classes = format!("{}/*", program.parts.display());
    Ok(Launch::new(
        format!("zookeeper://127.0.0.1:{port}"),
        [
            &program.path.to_string_lossy(),
            "-Xms32m",
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            &classes,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            "./zoo.cfg",
        ],
    ))
}

fn settings(port: u16) -> String {
    format!(
        "dataDir=./data\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime={TICK_MILLIS}\n\
         admin.enableServer=false\n4lw.commands.whitelist=srvr\nmaxClientCnxns=0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_serves_is_ready() {
        let is_answer = SERVER.probe.is_answer;
        assert!(is_answer(b"Zxid: 0x0\nMode: standalone\n"));
        assert!(!is_answer(
            b"This ZooKeeper instance is not currently serving requests\n"
        ));
    }

    #[test]
    fn it_listens_on_loopback_alone() {
        assert!(settings(2181).contains("clientPortAddress=127.0.0.1\n"));
    }
}
