//! `ensue probe`, and what a supervisor is told of `ensue serve`.

use std::os::unix::net::UnixDatagram;

use tempfile::TempDir;

use crate::serving::Serving;
use crate::shop::{PATIENCE, Shop};

/// What a supervisor gets to know next.
fn told(socket: &UnixDatagram) -> String {
    let mut text = [0; 4096];
    let length = socket.recv(&mut text).unwrap();
    String::from_utf8(text[..length].to_vec()).unwrap()
}

#[test]
fn a_supervisor_is_told_that_the_server_is_ready_lives_and_stops() {
    let (shop, directory) = (Shop::empty(), TempDir::new().unwrap());
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = shop.command(&["--json", "serve", "--listen", "127.0.0.1:0"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20000");
    let serving = Serving::started(command);
    let ready = told(&socket);
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    assert!(ready.contains(&serving.address), "{ready}");
    for _ in 0..3 {
        assert_eq!(told(&socket), "WATCHDOG=1");
    }
    serving.signal("-TERM");
    let last = std::iter::repeat_with(|| told(&socket)).find(|told| told != "WATCHDOG=1");
    assert!(last.unwrap().starts_with("STOPPING=1\n"));
    // The process may have ended before it is asked again.
    drop(serving);
}

#[test]
fn a_server_without_a_supervisor_tells_none_and_one_that_is_gone_is_no_harm() {
    let (shop, directory) = (Shop::empty(), TempDir::new().unwrap());
    let mut command = shop.command(&["--json", "serve", "--listen", "127.0.0.1:0"]);
    command
        .env("NOTIFY_SOCKET", directory.path().join("gone"))
        .env("WATCHDOG_USEC", "20000");
    let serving = Serving::started(command);
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn a_probe_succeeds_while_there_is_a_server_that_is_ready() {
    let shop = Shop::empty();
    let serving = Serving::start(&shop);
    let address = serving.address.clone();
    let probe =
        |more: &[&str]| shop.run(&[&["--json", "probe", "--listen", &address], more].concat());
    assert_eq!(probe(&[]).succeeds().json()["server"], "ready");
    assert_eq!(probe(&["--live"]).succeeds().json()["server"], "alive");
    assert_eq!(serving.end(), Some(0));
    assert_eq!(probe(&[]).fails(1).error()["kind"], "unavailable");
}

#[test]
fn a_probe_fails_while_the_server_is_stopping_but_for_that_of_the_process() {
    let (shop, directory) = (Shop::empty(), TempDir::new().unwrap());
    let config = directory.path().join("ensue.toml");
    std::fs::write(&config, "[limits]\ndrain_delay = '1h'\n").unwrap();
    let serving = Serving::start_with(&shop, &["--config", config.to_str().unwrap()]);
    let probe = |more: &[&str]| {
        shop.run(&[&["--json", "probe", "--listen", &serving.address], more].concat())
    };
    serving.signal("-TERM");
    let began = std::time::Instant::now();
    let refused = loop {
        let run = probe(&[]);
        if run.code != Some(0) {
            break run.error();
        }
        assert!(began.elapsed() < PATIENCE, "it is ready all the same");
    };
    assert_eq!(refused["kind"], "not_ready", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("stopping"));
    probe(&["--live"]).succeeds();
    assert_eq!(serving.end(), Some(0));
}
