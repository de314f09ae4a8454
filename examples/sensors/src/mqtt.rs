//! How devices and services speak over MQTT: the topics, where the broker is, and saying something to a device.
//!
//! | topic | who says it | what |
//! | --- | --- | --- |
//! | `sensors/DEVICE/reading` | the device | [`ReadingMeasured`](crate::events::ReadingMeasured) |
//! | `sensors/DEVICE/asks` | the device | [`DeviceAsked`](crate::events::DeviceAsked) |
//! | `sensors/DEVICE/answer` | the device | [`DeviceAnswered`](crate::events::DeviceAnswered) |
//! | `sensors/DEVICE/gone` | the broker: the device's will | [`DeviceGone`](crate::events::DeviceGone) |
//! | `sensors/DEVICE/stored` | the service | [`Stored`] |
//! | `sensors/DEVICE/command` | the service | [`Command`] |
//!
//! Payloads are JSON.

mod line;
mod place;

use serde::{Deserialize, Serialize};

pub use self::line::{Line, LineError};
pub use self::place::{BrokerPlace, InvalidPlace};

/// What a topic of a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Something was measured.
    Reading,
    /// How far is what I measured stored?
    Asks,
    /// A command was done.
    Answer,
    /// The connection is gone.
    Gone,
    /// To the device: so far it is stored.
    Stored,
    /// To the device: do that.
    Command,
}

impl Says {
    /// The topic's last part.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Asks => "asks",
            Self::Answer => "answer",
            Self::Gone => "gone",
            Self::Stored => "stored",
            Self::Command => "command",
        }
    }

    /// The topic of a device; `+` for the topics of all.
    pub fn topic(self, device: &str) -> String {
        format!("sensors/{device}/{}", self.name())
    }
}

/// To a device: all its readings up to a number are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The device's question.
    pub ask: u64,
    /// The last reading that it had sent then.
    pub sent: u64,
    /// The last reading that is stored, as are all before it that were not lost.
    pub stored: u64,
}

/// To a device: calibrate yourself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Names the command: what comes again is done once and answered again.
    pub command: String,
}
