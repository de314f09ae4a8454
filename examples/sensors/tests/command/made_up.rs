//! Made-up devices, all in one process.

use crate::hall::{Hall, assert_same};

#[test]
fn everything_is_stored_once_and_again_adds_nothing() {
    let hall = Hall::new(&["--devices", "40", "--readings", "60", "--seed", "3"]);
    let first = hall.whole(&["--home", "home"]);
    assert_eq!(first["devices"], 40, "{first}");
    assert_eq!(first["calibrations"], 4, "{first}");
    let counted = ["readings", "gaps", "rejected"].map(|field| first[field].as_u64().unwrap());
    // Numbers that are lost at the end of a device's readings are not known to be missing.
    let all: u64 = counted.iter().sum();
    assert!((2_395..=2_400).contains(&all), "{first}");
    assert!(first["duplicates"].as_u64().unwrap() > 0, "{first}");

    let again = hall.whole(&["--home", "home"]);
    assert_same(&again, &first);
    assert_eq!(again["duplicates"], first["duplicates"], "{again}");
    assert_eq!(again["readings_per_second"], 0.0, "{again}");

    // The same by another promise of MQTT, and nothing is left.
    let other = hall.whole(&["--engine", "memory:", "--qos", "2"]);
    assert_same(&other, &first);
    assert_eq!(other["duplicates"], first["duplicates"], "{other}");
}
