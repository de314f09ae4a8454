//! How devices send.

use std::num::NonZeroU32;
use std::time::Duration;

use rumqttc::QoS;

use crate::mqtt::BrokerPlace;

/// How many readings one device may have sent that are not known to be stored: at the least, and at the most.
pub(super) const WINDOW: (usize, usize) = (4, 1_024);

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
