//! Broker and services are killed at any moment, as often as one likes, while the devices go on: what the broker has
//! acknowledged is stored, everything is stored once, and what follows is what follows without a kill.
//!
//! More for those who have the time: `SENSORS_KILLS=100 SENSORS_READINGS=2000`, in a release build.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use crate::hall::{Hall, Process, assert_same};

pub(crate) fn number(name: &str, default: u32) -> u32 {
    let given = std::env::var(name).ok();
    given.map_or(default, |it| it.parse().unwrap())
}

/// Ten devices, with as many readings as there are to be.
pub(crate) fn hall() -> Hall {
    let readings = number("SENSORS_READINGS", 60).to_string();
    Hall::new(&["--devices", "10", "--readings", &readings, "--seed", "7"])
}

#[test]
fn killed_again_and_again_every_reading_is_stored_once() {
    drill(&hall(), None);
}

/// Kills parts, and what else can be attacked, until the devices are done; then everything has to be there.
pub(crate) fn drill(hall: &Hall, attack: Option<&dyn Fn()>) {
    let kills = number("SENSORS_KILLS", 5);
    let start: [(&str, &[&str]); 2] = [("broker", &[]), ("services", &[])];
    let mut parts: Vec<Process> = start
        .iter()
        .map(|(part, it)| hall.start(part, it))
        .collect();
    let mut devices = hall.start(
        "devices",
        &["--rate", "15", "--acknowledged", "acknowledged"],
    );
    let mut killed = 0;
    while killed < kills && !devices.has_ended() {
        std::thread::sleep(Duration::from_millis(fastrand::u64(200..1_000)));
        let index = fastrand::usize(..parts.len() + usize::from(attack.is_some()));
        match (parts.get_mut(index), attack) {
            (Some(part), _) => {
                let (name, more) = start[index];
                part.kill();
                *part = hall.start(name, more);
            }
            (None, Some(attack)) => attack(),
            (None, None) => {}
        }
        killed += 1;
    }
    assert!(
        killed * 2 >= kills,
        "through after {killed} kills: that tests little"
    );
    devices.ended(hall);
    parts.into_iter().for_each(Process::leave);

    // All of it once more: nothing is to be sent, and the database has what the log has.
    let found = hall.whole(&["--home", "home"]);
    let undisturbed = self::hall().whole(&["--engine", "memory:"]);
    assert_same(&found, &undisturbed);
    let stored = hall.stored();
    let once: BTreeSet<_> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), once.len(), "none is stored twice");
    // The few that are no numbers are acknowledged and rejected.
    let acknowledged = hall.acknowledged();
    let missing = acknowledged.difference(&once).count() as u64;
    let rejected = found["rejected"].as_u64().unwrap();
    assert!(missing <= rejected, "{missing}: {found}\n{}", hall.log());
    assert!(acknowledged.len() >= once.len() / 2);
    eprintln!("{killed} kills: {found}");
}
