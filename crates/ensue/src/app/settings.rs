//! How an app runs its services, unless they say otherwise.

use std::time::Duration;

use crate::engine::Start;
use crate::error::{AppError, Error, Result};
use crate::service::{CONCURRENCY_MAX, ServiceOptions};

/// The most events that a service may hold unsettled.
pub const IN_FLIGHT_MAX: usize = 65_536;
/// The most tasks that a service may spread its keys over.
pub const WORKERS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) start: Start,
    pub(super) workers: usize,
    pub(super) in_flight_max: usize,
    pub(super) concurrency: usize,
    pub(super) shutdown: Duration,
    pub(super) seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Start::Earliest,
            workers: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            in_flight_max: 8_192,
            concurrency: 256,
            shutdown: Duration::from_secs(30),
            seed: None,
        }
    }
}

impl Settings {
    /// These, but for what one service says otherwise.
    pub(super) fn for_service(self, options: &ServiceOptions) -> Self {
        Self {
            start: options.start.clone().unwrap_or(self.start),
            workers: options.workers.unwrap_or(self.workers),
            in_flight_max: options.in_flight_max.unwrap_or(self.in_flight_max),
            concurrency: options.concurrency.unwrap_or(self.concurrency),
            ..self
        }
    }

    /// Refuses what is not within its limits; `whose` says whose settings these are.
    pub(super) fn checked(self, whose: &str) -> Result<Self> {
        let within = |name: &'static str, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(Error::App(AppError::Setting {
                name,
                of: whose.to_owned(),
                value,
                max,
            }))
        };
        within("workers", self.workers, WORKERS_MAX)?;
        within("in_flight_max", self.in_flight_max, IN_FLIGHT_MAX)?;
        within("concurrency", self.concurrency, CONCURRENCY_MAX)?;
        Ok(self)
    }
}
