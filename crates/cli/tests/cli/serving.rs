//! `ensue serve`, as a process: asked to stop, and killed.

#![allow(clippy::disallowed_types, reason = "it is a client of the server")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::shop::{PATIENCE, Running, Shop};

pub(crate) struct Serving {
    running: Running,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(shop: &Shop) -> Self {
        Self::at(shop, "127.0.0.1:0", &[])
    }

    pub(crate) fn start_with(shop: &Shop, more: &[&str]) -> Self {
        Self::at(shop, "127.0.0.1:0", more)
    }

    /// At the address of one that has ended, say.
    pub(crate) fn at(shop: &Shop, address: &str, more: &[&str]) -> Self {
        let args = ["--json", "serve", "--listen", address];
        Self::started(shop.command(&[&args[..], more].concat()))
    }

    /// A server that `command` starts, and that says with `--json` where it listens.
    pub(crate) fn started(command: Command) -> Self {
        Self::of(Running::start(command))
    }

    /// One that was started, when it has said where it listens.
    pub(crate) fn of(running: Running) -> Self {
        let said: Value = serde_json::from_str(&running.line()).unwrap();
        let address = said["listening"].as_str().unwrap().to_owned();
        Self { running, address }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn pid(&self) -> u32 {
        self.running.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.running.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Whether the process has not ended.
    pub(crate) fn is_there(&mut self) -> bool {
        self.running.child.try_wait().unwrap().is_none()
    }

    /// Ends when the process has ended by itself.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.signal("-TERM");
        let before = Instant::now();
        loop {
            if let Some(status) = self.running.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(before.elapsed() < PATIENCE, "it does not stop");
            std::thread::yield_now();
        }
    }
}

/// Sends one event over a connection that stays; its receipt, or nothing when the server is gone.
fn publish(stream: &mut TcpStream, id: &str) -> Option<Value> {
    let event = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/load","type":"e","topic":"load","data":1.10}}"#
    );
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let answer = answer(stream)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200")
        .then(|| serde_json::from_str(body).unwrap())
}

/// An answer whose body is a line or one object of JSON.
pub(crate) fn answer(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut some = [0; 4096];
    loop {
        let read = stream.read(&mut some).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() >= length.parse::<usize>().unwrap() {
            return Some(text.into_owned());
        }
    }
}

#[test]
fn a_server_that_is_asked_to_stop_ends_well_and_leaves_the_log_whole() {
    let shop = Shop::empty();
    let serving = Serving::start(&shop);
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    let receipt = publish(&mut stream, "1").unwrap();
    assert_eq!(receipt["duplicate"], false);
    assert_eq!(serving.end(), Some(0));
    shop.run(&["check"]).succeeds();
    let tail = shop.json(&["tail", "load"]);
    assert_eq!(tail["id"], "1");
}

#[test]
fn the_api_is_printed_without_a_server() {
    let shop = Shop::empty();
    let document: Value =
        serde_json::from_str(&shop.run(&["serve", "--openapi"]).succeeds().out).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let reads = &document["paths"]["/v1/events"]["get"];
    assert_eq!(reads["operationId"], "readEvents");
    assert!(!shop.path().exists(), "it opened a log");
}

#[test]
fn two_servers_of_one_directory_are_one_too_many() {
    let shop = Shop::empty();
    let serving = Serving::start(&shop);
    let run = shop
        .run(&["--json", "serve", "--listen", "127.0.0.1:0"])
        .fails(1);
    assert_eq!(run.error()["kind"], "locked");
    let listen = [
        "--json",
        "--engine",
        "memory:",
        "serve",
        "--listen",
        &serving.address,
    ];
    assert_eq!(shop.run(&listen).fails(1).error()["kind"], "listen");
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn an_address_that_other_machines_reach_is_refused() {
    let shop = Shop::empty();
    let run = shop.run(&["serve", "--listen", "0.0.0.0:3678"]).fails(1);
    run.warns("not a loopback address")
        .warns("nor authentication");
    let file = shop.path().with_extension("toml");
    std::fs::write(&file, "listen = \"[::]:3678\"").unwrap();
    let run = shop
        .run(&["serve", "--config", file.to_str().unwrap()])
        .fails(1);
    run.warns("not a loopback address");
    assert!(!shop.path().exists(), "nothing was made");
}

#[test]
fn a_configuration_is_checked_without_serving() {
    let shop = Shop::empty();
    let file = shop.path().with_extension("toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let args = [
            "--json",
            "serve",
            "--config",
            file.to_str().unwrap(),
            "--check",
        ];
        let mut command = shop.command(&args);
        command
            .env_remove("ENSUE_ENGINE")
            .env_remove("ENSUE_LISTEN")
            // The secret of an endpoint: a check reads it.
            .env("X", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, _) = check("engine = \"embedded:/x\"\n[limits]\nconnections_max = 7");
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(shown["engine"], "embedded:/x");
    assert_eq!(shown["limits"]["connections_max"], 7);
    assert_eq!(shown["limits"]["batch_events_max"], 10_000);
    let (code, out, _) = check(
        "engine = \"nats://me:hidden@shop.example\"\n[[webhooks.endpoint]]\nname = \"x\"\ntopics = [\">\"]\n\
         url = \"https://hooks.example/hidden\"\nsecrets = { env = \"X\" }",
    );
    assert_eq!(code, Some(0), "{out}");
    assert!(
        !out.contains("hidden") && out.contains("hooks.example"),
        "{out}"
    );
    let (code, _, err) = check("[limits]\nconnection_max = 7");
    assert_eq!(code, Some(1));
    assert!(
        err.contains("did you mean `limits.connections_max`"),
        "{err}"
    );
    assert!(!shop.path().exists());
}

#[test]
fn what_a_check_passes_is_what_is_served() {
    let shop = Shop::empty();
    let place = shop.path();
    let place = place.parent().unwrap();
    let secret = place.join("secret");
    let config = place.join("ensue.toml");
    let url = |url: &str| {
        let text = format!(
            "engine = 'embedded:./served'\nlisten = '127.0.0.1:0'\n[[webhooks.endpoint]]\nname = 'shop'\n\
             url = '{url}'\ntopics = ['orders']\nsecrets = {{ file = 'secret' }}\n"
        );
        std::fs::write(&config, text).unwrap();
    };
    let run = |more: &[&str]| {
        let args = [&["serve", "--config", "ensue.toml"], more].concat();
        let mut command = shop.command(&args);
        let out = command
            .env_remove("ENSUE_ENGINE")
            .current_dir(place)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let refused = |part: &str| {
        for more in [&["--check"][..], &[]] {
            let (code, _, problem) = run(more);
            assert_eq!(code, Some(1), "{more:?} {part}");
            assert!(
                problem.contains("`shop`") && problem.contains(part),
                "{problem}"
            );
        }
        assert!(!place.join("served").exists(), "nothing is made");
    };
    url("https://shop.example/hooks");
    refused("cannot be read");
    let modes = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    std::fs::set_permissions(&secret, modes(0o644)).unwrap();
    refused("read by other users");
    std::fs::set_permissions(&secret, modes(0o600)).unwrap();
    std::fs::write(&secret, "hello\n").unwrap();
    refused("line 1");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    url("http://10.1.2.3/hooks");
    refused("may not be called");
    url("https://shop.example/hooks");
    let (code, out, problem) = run(&["--check"]);
    assert_eq!(code, Some(0), "{problem}");
    assert!(out.starts_with("# good"), "{out}");
    for line in [
        "lease_max = \"1h\"",
        "backoff = \"1s..1h\"",
        "engine = \"embedded:./served\"",
    ] {
        assert!(out.lines().any(|it| it == line), "{line}: {out}");
    }
    let (code, out, _) = run(&["--check", "--json"]);
    let checked: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &checked["limits"]["lease_max"]),
        (Some(0), &"1h".into())
    );
}

#[test]
fn a_log_is_made_where_the_file_is_and_only_when_it_can_be_served() {
    let shop = Shop::empty();
    let place = shop.path();
    let place = place.parent().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = place.join("ensue.toml");
    std::fs::write(&config, "engine = 'embedded:./served'\n").unwrap();
    let serve = |address: &str| {
        let args = [
            "--json",
            "serve",
            "--config",
            config.to_str().unwrap(),
            "--listen",
            address,
        ];
        let mut command = shop.command(&args);
        command.env_remove("ENSUE_ENGINE");
        command
    };
    let out = serve(&address).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("\"listen\""));
    assert!(!place.join("served").exists());
    let serving = Serving::started(serve("127.0.0.1:0"));
    assert!(place.join("served").is_dir());
    assert_eq!(serving.end(), Some(0));
}
