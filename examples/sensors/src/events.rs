//! What happens, as events.
//!
//! What devices say is in the topic `devices`, under the device: it comes over MQTT, and is nothing yet but said.
//! What is held of it is in `readings`, what follows from those in `alarms`.

use ensue::Timestamp;
use ensue::prelude::*;

/// The topic of everything that devices say.
pub const DEVICES: &str = "devices";

/// A device says that it has measured something.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "reading.measured", topic = "devices")]
pub struct ReadingMeasured {
    /// The device's number for it, from 1.
    pub sequence: u64,
    /// The number of the reading before it in the device's memory, 0 for none; numbers between the two are lost.
    /// A device that does not say it keeps no memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// When it was measured.
    pub at: Timestamp,
    /// What was measured; nothing if the probe gave no number.
    pub value: Option<f64>,
}

/// A device asks how far its readings are stored.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.asked", topic = "devices")]
pub struct DeviceAsked {
    /// The device's number for the question.
    pub ask: u64,
    /// The number of the last reading that it has sent.
    pub sent: u64,
}

/// A device has done what a command said, or says why not.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.answered", topic = "devices")]
pub struct DeviceAnswered {
    /// The id of the command.
    pub command: String,
    /// What it measured when it was calibrated: how far it was off.
    pub offset: f64,
}

/// The broker says that a device's connection is gone without a farewell.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.gone", topic = "devices")]
pub struct DeviceGone {}

/// A device has been gone for too long: a timer.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.missed", topic = "devices", key = device)]
pub struct DeviceMissed {
    /// Which device.
    pub device: String,
    /// Since when.
    pub since: Timestamp,
}

/// A device is to be told how far its readings are stored.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.told", topic = "answers", key = device)]
pub struct DeviceTold {
    /// Which device.
    pub device: String,
    /// Its question.
    pub ask: u64,
    /// The number of the last reading that it had sent then.
    pub sent: u64,
    /// All its readings up to this number are in the log.
    pub stored: u64,
}

/// A reading is valid, new and in its turn: the fact that all else follows from.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "reading.accepted", topic = "readings", key = device)]
pub struct ReadingAccepted {
    /// Which device measured it.
    pub device: String,
    /// Its number there.
    pub sequence: u64,
    /// How many numbers before it will never come.
    pub missing: u64,
    /// When it was measured.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

/// A reading came again.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "reading.repeated", topic = "readings", key = device)]
pub struct ReadingRepeated {
    /// Which device sent it.
    pub device: String,
    /// Its number there.
    pub sequence: u64,
}

/// A reading cannot be used.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "reading.rejected", topic = "readings", key = device)]
pub struct ReadingRejected {
    /// Which device sent it.
    pub device: String,
    /// Its number there.
    pub sequence: u64,
    /// How many numbers before it will never come.
    pub missing: u64,
    /// Why.
    pub reason: String,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmKind {
    /// Values that are far from what the device measures otherwise.
    Anomaly,
    /// Nothing was measured for much longer than usual.
    Silence,
    /// The device is not connected.
    Gone,
}

impl AlarmKind {
    /// As rows and texts have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::Silence => "silence",
            Self::Gone => "gone",
        }
    }
}

/// There is something to look at.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "alarm.raised", topic = "alarms", key = device)]
pub struct AlarmRaised {
    /// Which device.
    pub device: String,
    /// What about.
    pub kind: AlarmKind,
    /// Since when.
    pub since: Timestamp,
}

/// It is as it should be again.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "alarm.cleared", topic = "alarms", key = device)]
pub struct AlarmCleared {
    /// Which device.
    pub device: String,
    /// What about.
    pub kind: AlarmKind,
    /// Since when it was raised.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// A request: calibrate a device. The reply is its [`DeviceAnswered`].
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.calibrate", topic = "commands", key = device)]
pub struct CalibrateDevice {
    /// Which device.
    pub device: String,
}

/// A device was calibrated, by the holder of the lock.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "device.calibrated", topic = "calibrations", key = device)]
pub struct DeviceCalibrated {
    /// Which device.
    pub device: String,
    /// How far it was off.
    pub offset: f64,
    /// The fencing token of the lock under which this was done.
    pub token: u64,
}
