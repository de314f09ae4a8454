//! The service is killed at any moment, as often as one likes, while its clients go on asking: nobody
//! is a user twice, nothing that anybody was told is lost, and no session is nobody's.
//!
//! More for those who have the time: `ACCOUNTS_KILLS=100 ACCOUNTS_USERS=1000`, in a release build.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use crate::town::{Town, assert_good};

pub(crate) fn number(name: &str, default: u32) -> u32 {
    let given = std::env::var(name).ok();
    given.map_or(default, |it| it.parse().unwrap())
}

#[test]
fn killed_again_and_again_it_keeps_its_word() {
    let town = Town::new(|home| format!("embedded:{}", home.join("log").display()));
    let (kills, users) = (number("ACCOUNTS_KILLS", 6), number("ACCOUNTS_USERS", 40));
    let mut service = town.serve();
    let mut load = town.load(users);
    let mut killed = 0;
    while killed < kills && !load.has_ended() {
        std::thread::sleep(Duration::from_millis(fastrand::u64(100..1_200)));
        service.kill();
        service = town.serve();
        killed += 1;
    }
    let loaded = load.said();
    assert!(
        killed * 2 >= kills,
        "through after {killed} kills: that tests little"
    );
    service.leave();
    let log = town.check(&town.engine);
    eprintln!("{killed} kills: {loaded} {log}");
    assert_good(&loaded, &log, users);
}
