//! The command finds what the file says, on every engine, with every fault, in every run.

use std::path::Path;

use crate::shop::{RECORDED, Shop, assert_summary};

#[test]
fn in_memory() {
    let shop = Shop::with_every_kind_of_order(5);
    assert_summary(&shop.run(&["--engine", "memory:"]), &shop.expected());
    let left: Vec<_> = std::fs::read_dir(shop.directory()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the file with the orders: {left:?}");
}

#[test]
fn in_a_directory_and_again_adds_nothing() {
    let shop = Shop::with_every_kind_of_order(5);
    assert_summary(&shop.run(&[]), &shop.expected());
    let again = shop.run(&[]);
    assert_summary(&again, &shop.expected());
    assert_eq!(again["events_per_second"], 0.0, "{again}");
}

#[test]
fn faults_change_nothing_but_the_retries() {
    let shop = Shop::with_every_kind_of_order(5);
    let summary = shop.run(&["--engine", "memory:", "--faults", "20"]);
    assert_summary(&summary, &shop.expected());
    assert!(summary["retries"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn what_never_works_becomes_dead_letters_and_an_end() {
    let shop = Shop::with_every_kind_of_order(1);
    let summary = shop.run(&["--engine", "memory:", "--faults", "100"]);
    // No charge and no notification: one dead letter each, per order.
    assert_eq!(summary["dead_letters"], 80, "{summary}");
    assert_eq!(summary["events"]["order.created"], 40, "{summary}");
    assert_eq!(summary["events"]["order.payment"], 0, "{summary}");
}

#[test]
fn the_recorded_orders() {
    let input = Path::new(RECORDED);
    if !input.exists() {
        eprintln!("NOT TESTED: the recorded orders are not there: {RECORDED}");
        return;
    }
    let shop = Shop::with_orders_of(input);
    assert_summary(&shop.run(&["--faults", "10"]), &shop.expected());
}
