//! All devices together: they run until all their readings are stored, and stay to be commanded.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::QoS;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::Connected;
use super::device::Device;
use crate::mqtt::BrokerPlace;
use crate::world::World;

/// How many readings of all devices may be sent and not known to be stored: the broker has room for them.
const SENT_MAX: usize = 16_384;
/// How many readings of one device.
const WINDOW: (usize, usize) = (4, 1_024);
/// How many devices connect at the same time: more than a broker accepts would only wait until they give up.
const CONNECTING_MAX: usize = 64;
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

/// How devices send.
#[derive(Clone, Debug)]
pub struct Manner {
    /// To whom.
    pub broker: BrokerPlace,
    /// What the broker promises about a reading.
    pub qos: QoS,
    /// So many readings a second of each device at the most.
    pub rate: Option<NonZeroU32>,
    /// How many readings may be sent and not known to be stored.
    pub(super) window: usize,
    /// Whether the broker is in this process, which then has both ends of each connection.
    pub is_broker_here: bool,
}

impl Manner {
    /// Devices that send as fast as they can, at QoS 1.
    pub fn new(broker: BrokerPlace) -> Self {
        Self {
            broker,
            qos: QoS::AtLeastOnce,
            rate: None,
            window: WINDOW.1,
            is_broker_here: false,
        }
    }

    /// Between two readings.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs(1) / rate.get())
    }
}

/// What devices have sent, as they know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The readings that the broker has acknowledged: device and number.
    pub acknowledged: BTreeSet<(String, u64)>,
    /// The devices that were told how far they are stored.
    pub told: HashSet<String>,
    /// The devices whose readings are all stored.
    pub done: HashSet<String>,
}

/// What all devices of a fleet tell.
#[derive(Clone)]
pub(super) struct Progress {
    sent: Arc<Mutex<Sent>>,
    connecting: Arc<Semaphore>,
    told: watch::Sender<usize>,
    done: watch::Sender<usize>,
}

impl Progress {
    /// Waits for its turn to connect; it is over when this is dropped. The turns are never closed.
    pub(super) async fn connecting(&self) -> Option<OwnedSemaphorePermit> {
        self.connecting.clone().acquire_owned().await.ok()
    }

    pub(super) fn acknowledged(&self, device: &str, number: u64) {
        let acknowledged = (device.to_owned(), number);
        self.sent().acknowledged.insert(acknowledged);
    }

    pub(super) fn stored(&self, device: &str, is_done: bool) {
        let mut sent = self.sent();
        if sent.told.insert(device.to_owned()) {
            self.told.send_replace(sent.told.len());
        }
        if is_done {
            sent.done.insert(device.to_owned());
            self.done.send_replace(sent.done.len());
        }
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let progress = Progress {
            sent: Arc::default(),
            connecting: Arc::new(Semaphore::new(CONNECTING_MAX)),
            told: watch::Sender::new(0),
            done: watch::Sender::new(0),
        };
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
        let (mut told, wanted) = (self.progress.told.subscribe(), self.with_readings);
        async move {
            // Whoever is not there any more tells nobody.
            let _ = told.wait_for(|told| *told >= wanted).await;
        }
    }

    /// Completes when all readings are stored.
    ///
    /// # Errors
    /// [`DevicesError::Ended`].
    pub async fn all_stored(&mut self) -> Result<(), DevicesError> {
        let mut done = self.progress.done.subscribe();
        let wanted = self.with_readings;
        tokio::select! {
            // The sender is ours.
            _ = done.wait_for(|done| *done >= wanted) => Ok(()),
            Some(ended) = self.devices.join_next() => Ok(ended?),
        }
    }

    /// What the devices know.
    pub fn sent(&self) -> Sent {
        self.progress.sent().clone()
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
    let _ = setrlimit(Resource::Nofile, limit.clone());
    let now = getrlimit(Resource::Nofile).current;
    match now {
        Some(allowed) if allowed < needed => Err(DevicesError::Files { needed, allowed }),
        _ => Ok(()),
    }
}
