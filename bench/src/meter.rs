//! Time on the clock, and on this process's processors: the server's is not in it.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub(crate) struct Meter {
    begun: Instant,
    busy: Duration,
}

/// What some work took.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    /// Of all threads of this process.
    pub(crate) processor: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self {
            begun: Instant::now(),
            busy: busy(),
        }
    }

    pub(crate) fn stop(&self) -> Spent {
        Spent {
            elapsed: self.begun.elapsed(),
            processor: busy().saturating_sub(self.busy),
        }
    }
}

impl Spent {
    pub(crate) fn rate(self, events: usize) -> f64 {
        events as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of a processor for each event.
    pub(crate) fn processor_microseconds(self, events: usize) -> f64 {
        self.processor.as_secs_f64() * 1e6 / events.max(1) as f64
    }
}

fn busy() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
