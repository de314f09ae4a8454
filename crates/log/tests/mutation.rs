//! Would the attacks notice? Each line that makes the log safe is taken away in turn: at least one
//! attack must then win. With all of them in place, none does.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test
#![allow(
    dead_code,
    reason = "the attacks are used in small sizes, and not all of them"
)]

#[path = "attack/attacks/mod.rs"]
mod attacks;
mod support;

use std::panic::catch_unwind;

use attacks::{flips, io, model, power, retention, script, stale, sync, torn};
use ensue_log::sabotage::Safeguard;

/// In an order in which most of what is taken away is noticed soon.
const ATTACKS: &[(&str, fn())] = &[
    ("power, one appender", || power::one_appender(40)),
    ("flips", || flips::every_byte(&flips::small(), 7)),
    ("flips of a crashed log", || {
        flips::of_a_log_that_crashed(31)
    }),
    ("stale frames", || stale::the_very_next_frame(20)),
    ("another course of events", stale::of_another_course),
    ("failing syncs", || sync::the_kth_sync(6)),
    ("failing syncs, then death", || {
        sync::then_the_process_dies(20)
    }),
    ("a new log", || io::after_every_call(script::FIRST, 1, 1)),
    ("torn writes", || torn::any_sectors_missing(10)),
    ("damage before a whole frame", || {
        torn::before_a_whole_frame(29)
    }),
    ("damage after a close", || torn::after_a_clean_shutdown(29)),
    ("power, many appenders", || power::many_appenders(20)),
    ("failing calls under threads", || sync::under_threads(10)),
    ("flips of several files", || {
        flips::every_byte(&flips::several_files(), 997);
    }),
    ("stale frames behind the end", || stale::behind_the_end(20)),
    ("a cut trim", || {
        retention::a_trim_cut_at_every_call(150, 19)
    }),
    ("a crash after every call", || {
        io::after_every_call(script::SHORT, 29, 7);
    }),
    ("histories", || model::histories(5)),
];

/// The first attack that wins.
fn winner() -> Option<&'static str> {
    let wins = |attack: fn()| catch_unwind(attack).is_err();
    ATTACKS
        .iter()
        .find(|(_, attack)| wins(*attack))
        .map(|(name, _)| *name)
}

/// One test: the switches are the process's.
#[test]
fn every_safeguard_is_missed() {
    Safeguard::put_back();
    // What loses says why.
    assert_eq!(winner(), None, "an attack wins against the log as it is");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for safeguard in Safeguard::ALL {
        safeguard.take_away();
        let winner = winner();
        Safeguard::put_back();
        missed.push((safeguard, winner));
    }
    std::panic::set_hook(hook);
    for (safeguard, winner) in &missed {
        eprintln!("without {safeguard:?}: {}", winner.unwrap_or("NOT NOTICED"));
    }
    let silent: Vec<_> = missed
        .iter()
        .filter(|(_, winner)| winner.is_none())
        .collect();
    assert!(
        silent.is_empty(),
        "no attack notices the loss of {silent:?}"
    );
}
