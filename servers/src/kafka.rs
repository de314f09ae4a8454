//! Apache Kafka as one KRaft node, from Maven Central.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::{Launch, write};
use crate::maven::{self, Artifact};
use crate::place::Place;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, run};
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

const VERSION: &str = "4.3.1";
/// Its log goes to slf4j 1.7, which needs a bridge to the log4j that comes along.
const LOG4J: &str = "2.25.4";
const ARTIFACTS: [Artifact; 2] = [
    Artifact {
        group: "org.apache.kafka",
        name: "kafka_2.13",
        version: VERSION,
    },
    Artifact {
        group: "org.apache.logging.log4j",
        name: "log4j-slf4j-impl",
        version: LOG4J,
    },
];

pub(crate) const SERVER: Server = Server {
    name: "kafka",
    started: Started::Always,
    ports: 2,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: Probe {
        words: METADATA,
        is_answer: has_broker,
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

/// A request for metadata, version 1, about no topic: length, key, version, correlation, no client
/// id, no topics.
const METADATA: &[u8] = &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];

/// Whether the answer knows a broker. A broker that has only just started answers as well, but is
/// not in the list yet, and no topic can be created.
fn has_broker(answer: &[u8]) -> bool {
    // Length, correlation, number of brokers: four bytes each.
    let Some((correlation, brokers)) = answer.get(4..8).zip(answer.get(8..12)) else {
        return false;
    };
    correlation == [0, 0, 0, 7] && brokers != [0, 0, 0, 0]
}

fn missing(place: &Place) -> Vec<&'static str> {
    maven::missing(&jars(place))
}

fn jars(place: &Place) -> PathBuf {
    place.programs.join(format!("kafka-{VERSION}"))
}

fn obtain(place: &Place) -> Result<Program, String> {
    let java = maven::java().ok_or("there is no Java since 17")?;
    let jars = jars(place);
    maven::fetch(place, "Kafka", VERSION, &ARTIFACTS, &jars)?;
    Ok(Program {
        parts: jars,
        ..Program::new(VERSION, java)
    })
}

const LOGGING: &str = "\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let &[port, controller] = ports else {
        return Err("Kafka needs two ports".to_owned());
    };
    write(
        &directory.join("server.properties"),
        &settings(port, controller),
    )?;
    write(&directory.join("log4j2.properties"), LOGGING)?;
    let java = program.path.to_string_lossy();
    let classes = format!("{}/*", program.parts.display());
    // Compiled in a hurry: it starts in half the time, and tests do not run for long.
    let options = [
        &java,
        "-Xms64m",
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-cp",
        &classes,
    ];
    let mut format = Command::new(&program.path);
    // One node is a cluster of its own; the id is never shown.
    format
        .args(options.iter().skip(1))
        .args(["kafka.tools.StorageTool", "format"]);
    format.args(["-t", "ZW5zdWUtc2VydmljZXMtMQ", "-c", "server.properties"]);
    run(format.current_dir(directory))?;
    let mut launch = Launch::new(format!("kafka://127.0.0.1:{port}"), options);
    let main = ["kafka.Kafka", "server.properties"].map(str::to_owned);
    launch.command.extend(main);
    Ok(launch)
}

fn settings(port: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs=data\nauto.create.topics.enable=false\n\
         # There is only this one node.\n\
         default.replication.factor=1\nmin.insync.replicas=1\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\nshare.coordinator.state.topic.num.partitions=4\n\
         # After SIGKILL, the node waits until it believes that its former self is dead.\n\
         broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
         # Tests do not wait for members that might still come.\n\
         group.initial.rebalance.delay.ms=0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says() {
        assert_eq!(METADATA.len(), 4 + 14);
    }

    #[test]
    fn a_broker_is_ready_when_it_is_in_its_own_list() {
        let answer = |brokers| [0, 0, 0, 40, 0, 0, 0, 7, 0, 0, 0, brokers, 0];
        assert!(has_broker(&answer(1)));
        assert!(!has_broker(&answer(0)));
        assert!(!has_broker(&answer(1)[..11]));
    }
}
