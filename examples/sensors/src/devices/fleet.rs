//! All devices together: they run until all their readings are stored, and stay to be commanded.

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::connection::Connected;
use super::device::Device;
use super::manner::{Manner, WINDOW};
use super::progress::{Progress, Sent};
use crate::world::World;

/// How many readings of all devices may be sent and not known to be stored: the broker has room for them.
const SENT_MAX: usize = 16_384;
/// Files that a process has open beside its connections.
const FILES_BESIDE: u64 = 256;

/// Why there are no devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevicesError {
    /// The system does not allow so many connections.
    #[error(
        "{needed} open files are needed for so many devices, and {allowed} are allowed; have fewer --devices, or \
         raise the limit (`ulimit -n {needed}`)"
    )]
    Files {
        /// How many.
        needed: u64,
        /// How many of them there can be.
        allowed: u64,
    },
    /// A device has ended, which none does by itself.
    #[error("a device has stopped: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// Devices that run as long as this is there.
pub struct Fleet {
    devices: JoinSet<()>,
    progress: Progress,
    with_readings: usize,
}

impl Fleet {
    /// Starts the devices of a world.
    ///
    /// # Errors
    /// [`DevicesError::Files`].
    pub fn start(world: &World, mut manner: Manner) -> Result<Self, DevicesError> {
        let count = world.devices.len();
        allow_connections(count as u64 * (1 + u64::from(manner.is_broker_here)))?;
        manner.window = (SENT_MAX / count.max(1)).clamp(WINDOW.0, WINDOW.1);
        let progress = Progress::default();
        let mut devices = JoinSet::new();
        for measuring in &world.devices {
            let device = Device::new(measuring.clone(), manner.window, fastrand::u64(..1 << 52));
            let connected = Connected::new(device, manner.clone(), progress.clone());
            devices.spawn(connected.run());
        }
        let with_readings = world.devices.iter().filter(|it| !it.readings.is_empty());
        Ok(Self {
            devices,
            progress,
            with_readings: with_readings.count(),
        })
    }

    /// Completes when every device that has something to say is connected, and was told how far it is.
    pub fn all_told(&self) -> impl Future<Output = ()> + use<> {
        let (mut told, wanted) = (self.progress.told(), self.with_readings);
        async move {
            // A device that has gone has no one to tell.
            let _ = told.wait_for(|told| *told >= wanted).await;
        }
    }

    /// Completes when all readings are stored.
    ///
    /// # Errors
    /// [`DevicesError::Ended`].
    pub async fn all_stored(&mut self) -> Result<(), DevicesError> {
        let mut done = self.progress.done();
        let wanted = self.with_readings;
        tokio::select! {
            // The sender is ours.
            _ = done.wait_for(|done| *done >= wanted) => Ok(()),
            Some(ended) = self.devices.join_next() => Ok(ended?),
        }
    }

    /// What the devices know.
    pub fn sent(&self) -> Sent {
        self.progress.known()
    }
}

/// Has the system allow so many connections.
fn allow_connections(connections: u64) -> Result<(), DevicesError> {
    let needed = connections + FILES_BESIDE;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let allowed = limit.maximum.unwrap_or(needed);
    limit.current = Some(needed.min(allowed));
    // It shows below.
    let _ = setrlimit(Resource::Nofile, limit);
    let now = getrlimit(Resource::Nofile).current;
    match now {
        Some(allowed) if allowed < needed => Err(DevicesError::Files { needed, allowed }),
        _ => Ok(()),
    }
}
