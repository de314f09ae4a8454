//! RabbitMQ, from Debian, with an Erlang port mapper of its own, so that it meets no other node.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::{Launch, write};
use crate::place::Place;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, run};
use crate::secret::random_word;
use crate::server::{Origin, Server, Started, no_remains};
use crate::state::Entry;

/// The server itself: what is in `PATH` insists on the user `rabbitmq`.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const MAPPER_PORT: &str = "ERL_EPMD_PORT";

pub(crate) const SERVER: Server = Server {
    name: "rabbitmq",
    started: Started::Always,
    ports: 3,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: Probe {
        words: b"AMQP\x00\x00\x09\x01",
        // A method frame on channel 0, class connection, method start.
        is_answer: |answer| {
            answer.starts_with(&[1, 0, 0]) && answer.get(7..11) == Some(&[0, 10, 0, 10])
        },
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: end_port_mapper,
};

fn missing(_: &Place) -> Vec<&'static str> {
    if Path::new(PROGRAM).is_file() {
        Vec::new()
    } else {
        vec!["rabbitmq-server"]
    }
}

/// The program is a link into a directory that is named after its version.
fn obtain(_: &Place) -> Result<Program, String> {
    let real = Path::new(PROGRAM).canonicalize();
    let real = real.map_err(|error| format!("there is no {PROGRAM}: {error}"))?;
    let version = version_in(&real).ok_or("which version is RabbitMQ?")?;
    Ok(Program::new(version, PROGRAM))
}

fn version_in(path: &Path) -> Option<String> {
    let mut names = path.iter().filter_map(|name| name.to_str());
    names.find_map(|name| name.strip_prefix("rabbitmq_server-").map(str::to_owned))
}

fn set_up(program: &Program, directory: &Path, ports: &[u16]) -> Result<Launch, String> {
    let &[port, distribution, mapper] = ports else {
        return Err("RabbitMQ needs three ports".to_owned());
    };
    let settings = "vm_memory_high_watermark.absolute = 400MB\ndisk_free_limit.absolute = 50MB\n";
    write(&directory.join("rabbitmq.conf"), settings)?;
    write(&directory.join("enabled_plugins"), "[].\n")?;
    // It allows to tell the node what to do.
    let cookie = directory.join(".erlang.cookie");
    write(&cookie, &random_word()?)?;
    run(Command::new("chmod").arg("400").arg(&cookie))?;

    let url = format!("amqp://guest:guest@127.0.0.1:{port}");
    let mut launch = Launch::new(url, [&program.path.to_string_lossy()]);
    let below = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let paths: [(&str, &str); 6] = [
        ("RABBITMQ_CONF_ENV_FILE", "rabbitmq-env.conf"),
        ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
        ("RABBITMQ_MNESIA_BASE", "data"),
        ("RABBITMQ_LOG_BASE", "data"),
        ("RABBITMQ_PID_FILE", "data/pid"),
    ];
    for (name, path) in paths {
        launch.set(name, below(path));
    }
    launch.set("HOME", below(""));
    launch.set("RABBITMQ_LOGS", "-");
    launch.set("RABBITMQ_NODENAME", format!("ensue-{port}@localhost"));
    launch.set("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
    launch.set("RABBITMQ_NODE_PORT", port.to_string());
    launch.set("RABBITMQ_DIST_PORT", distribution.to_string());
    launch.set(MAPPER_PORT, mapper.to_string());
    launch.set("ERL_EPMD_ADDRESS", "127.0.0.1");
    let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
    launch.set("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback);
    // As under systemd, the script becomes the server instead of staying its parent.
    launch.set("RUNNING_UNDER_SYSTEMD", "true");
    Ok(launch)
}

/// The node starts its port mapper and leaves it running. On its own port it serves no other node.
fn end_port_mapper(entry: &Entry) -> Result<(), String> {
    let mapper = find("epmd").unwrap_or_else(|| PathBuf::from("epmd"));
    let port = entry
        .environment
        .get(MAPPER_PORT)
        .map_or("", String::as_str);
    let mut kill = Command::new(mapper);
    kill.args(["-port", port, "-kill"]);
    kill.env("ERL_EPMD_ADDRESS", "127.0.0.1");
    run(&mut kill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_path() {
        let path = Path::new("/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin/rabbitmq-server");
        assert_eq!(version_in(path).as_deref(), Some("3.10.8"));
        assert_eq!(version_in(Path::new("/usr/sbin/rabbitmq-server")), None);
    }
}
