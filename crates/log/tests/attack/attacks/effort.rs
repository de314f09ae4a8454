//! How hard the attacks are, and how the work is shared among the cores.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The number in an environment variable; otherwise what a debug or a release build can do in a
/// test run.
fn number(name: &str, debug: u64, release: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .replace('_', "")
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, it is {text:?}")),
        Err(_) if is_thorough() => release,
        Err(_) => debug,
    }
}

/// Whether the build is fast enough for what tries everything.
pub(crate) fn is_thorough() -> bool {
    !cfg!(debug_assertions)
}

pub(crate) fn seeds() -> u64 {
    number("ENSUE_ATTACK_SEEDS", 200, 2_000)
}

pub(crate) fn flips() -> u64 {
    number("ENSUE_ATTACK_FLIPS", 200, 10_000)
}

pub(crate) fn histories() -> u64 {
    number("ENSUE_ATTACK_HISTORIES", 60, 500)
}

/// Runs the attack with every number below `count`, on all cores. The first panic ends it and is
/// passed on.
pub(crate) fn each(count: u64, attack: impl Fn(u64) + Sync) {
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let first = Mutex::new(None);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| attack(number)));
            if let Err(panic) = outcome {
                failed.store(true, Ordering::Relaxed);
                first.lock().unwrap().get_or_insert(panic);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some(panic) = first.into_inner().unwrap() {
        resume_unwind(panic);
    }
}
