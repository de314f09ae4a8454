//! Killed at any moment, as often as one likes, the command ends with the same result.

use std::time::Duration;

use crate::shop::{Shop, assert_summary};

#[test]
fn killed_again_and_again_it_goes_on_where_it_was() {
    let shop = Shop::with_every_kind_of_order(10);
    let mut killed = 0;
    while killed < 8 {
        // Slow enough that there is something left to do whenever it is killed.
        let mut child = shop.start(&["--rate", "400", "--faults", "10"]);
        std::thread::sleep(Duration::from_millis(fastrand::u64(10..200)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    assert!(
        killed > 2,
        "it was through after {killed} kills: that tests little"
    );
    let summary = shop.run(&["--faults", "10"]);
    assert_summary(&summary, &shop.expected());
}
