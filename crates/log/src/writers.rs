//! Those who write files by name, and the one who gives the directory up.

use crate::codec::lock;
use crate::sync::{Condvar, Mutex};

/// Lets files be written until it is shut, which waits for what is being written. One who writes may
/// come in again: no lock is held meanwhile.
#[derive(Debug)]
pub(crate) struct Writers {
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Debug)]
struct Inside {
    is_open: bool,
    count: usize,
}

impl Writers {
    pub(crate) fn new(is_open: bool) -> Self {
        Self {
            inside: Mutex::new(Inside { is_open, count: 0 }),
            left: Condvar::new(),
        }
    }

    /// Runs `write`, unless this is shut.
    pub(crate) fn run<T>(&self, write: impl FnOnce() -> T) -> Option<T> {
        {
            let mut inside = lock(&self.inside);
            if !inside.is_open {
                return None;
            }
            inside.count += 1;
        }
        let _leaving = Leaving(self);
        Some(write())
    }

    /// No writer comes in any more; returns when none is inside.
    pub(crate) fn shut(&self) {
        let mut inside = lock(&self.inside);
        inside.is_open = false;
        while inside.count > 0 {
            let waited = self.left.wait(inside);
            inside = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// Also when what is written panics.
struct Leaving<'a>(&'a Writers);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        lock(&self.0.inside).count -= 1;
        self.0.left.notify_all();
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn shutting_waits_for_those_inside_who_may_come_in_again() {
        let writers = Writers::new(true);
        let is_written = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (inside, came) = std::sync::mpsc::sync_channel(1);
            let (writers, is_written) = (&writers, &is_written);
            scope.spawn(move || {
                writers.run(|| {
                    inside.send(()).unwrap();
                    // Until it is being shut: then the second one is refused, and does not wait.
                    while writers.run(|| ()).is_some() {
                        std::thread::yield_now();
                    }
                    is_written.store(true, Ordering::Release);
                })
            });
            came.recv().unwrap();
            writers.shut();
            assert!(is_written.load(Ordering::Acquire));
        });
        assert_eq!(writers.run(|| ()), None);
    }
}
