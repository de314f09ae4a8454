//! On an engine with a server: two processes serve the same users, one of them behind no door that
//! anybody knocks at; they are killed, and so is the server.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json` prints it.

use std::time::Duration;

use servers::Running;

use crate::kill::number;
use crate::town::{Town, assert_good};

macro_rules! on {
    ($server:ident) => {
        mod $server {
            #[test]
            fn killed_now_and_then_it_keeps_its_word() {
                super::drill(stringify!($server));
            }
        }
    };
}

on!(nats);
on!(postgres);
on!(redis);

/// One drill at a time.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn drill(name: &str) {
    let Some(server) = Running::find(name) else {
        return;
    };
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let namespace = format!("accounts_{:016x}", fastrand::u64(..));
    let engine = |copy: &std::path::Path| {
        let (url, copy) = (&server.url, copy.display());
        format!("{url}?lease=2s&connect_timeout=10m&namespace={namespace}&replica={copy}")
    };
    let town = Town::new(|home| engine(&home.join("copy")));
    let other = engine(&town.home().join("other"));
    let (kills, users) = (number("ACCOUNTS_KILLS", 4), number("ACCOUNTS_USERS", 40));
    let mut service = town.serve();
    let mut standby = town.serve_at(&other, "127.0.0.1:0");
    let mut load = town.load(users);
    let mut killed = 0;
    while killed < kills && !load.has_ended() {
        std::thread::sleep(Duration::from_millis(fastrand::u64(300..2_000)));
        match fastrand::u8(..3) {
            0 => {
                standby.kill();
                standby = town.serve_at(&other, "127.0.0.1:0");
            }
            1 if killed > 0 => {
                server.kill();
                std::thread::sleep(Duration::from_millis(fastrand::u64(..1_000)));
                server.start();
            }
            _ => {
                service.kill();
                service = town.serve();
            }
        }
        killed += 1;
    }
    let loaded = load.said();
    service.leave();
    standby.leave();
    // A copy that has to get the whole log from the server again.
    let log = town.check(&engine(&town.home().join("afresh")));
    eprintln!("{name}: {killed} attacks: {loaded} {log}");
    assert_good(&loaded, &log, users);
}
