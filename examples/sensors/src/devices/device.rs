//! What a device remembers and says, without I/O.
//!
//! MQTT's acknowledgement says that the broker has a reading, and a broker may lose what it has. So a device keeps a
//! reading until the *log* has it: it asks now and then how far its readings are stored, and sends again what is
//! behind that. Readings are stored in their order or not at all, so that one number says everything.

use crate::events::{DeviceAsked, ReadingMeasured};
use crate::mqtt::Stored;
use crate::world::Measuring;

/// What a device says next.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// What it has measured, so many times.
    Reading(ReadingMeasured, u8),
    /// How far it is stored.
    Asks(DeviceAsked),
}

/// A device's memory: which readings it has, how many of them are stored, how many are sent.
#[derive(Debug)]
pub struct Device {
    measuring: Measuring,
    /// How many readings may be sent and not known to be stored.
    window: usize,
    /// How many of the readings are known to be stored.
    stored: usize,
    /// How many are sent, since the last time that some had to be sent again.
    sent: usize,
    /// The number of the last question.
    ask: u64,
    /// How many were sent when that was asked, while there is no answer.
    asked: Option<usize>,
    /// Whether this connection has heard how far it is.
    is_told: bool,
}

impl Device {
    /// A device that remembers these readings, and nothing of what was stored. Its questions are numbered from
    /// `ask`, by which it knows the answers to those of a device of the same name before it.
    pub fn new(measuring: Measuring, window: usize, ask: u64) -> Self {
        Self {
            measuring,
            window: window.max(2),
            stored: 0,
            sent: 0,
            ask,
            asked: None,
            is_told: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.measuring.device
    }

    /// Whether all its readings are stored.
    pub fn is_done(&self) -> bool {
        self.stored == self.measuring.readings.len()
    }

    /// It has a new connection: what was sent over the one before may be lost.
    pub fn connected(&mut self) {
        self.sent = self.stored;
        self.asked = None;
        self.is_told = false;
    }

    /// No answer has come for too long: it asks again.
    pub fn unanswered(&mut self) {
        self.asked = None;
    }

    /// Whether it waits for an answer.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// What to say now; nothing while it waits for an answer, and when it is done. Readings only if it is time
    /// for one.
    pub fn say(&mut self, is_time: bool) -> Option<Say> {
        if self.is_done() {
            return None;
        }
        if !self.is_told {
            return self.asks();
        }
        let unknown = self.sent - self.stored;
        let is_last = self.sent == self.measuring.readings.len();
        // Half a window goes on while the question is on its way.
        if (unknown >= self.window / 2 || is_last)
            && let Some(asks) = self.asks()
        {
            return Some(asks);
        }
        let next = self.measuring.readings.get(self.sent);
        let measured = next.filter(|_| is_time && unknown < self.window)?;
        let times = 1 + u8::from(measured.is_said_twice);
        let reading = measured.reading.clone();
        self.sent += 1;
        Some(Say::Reading(reading, times))
    }

    fn asks(&mut self) -> Option<Say> {
        if self.asked.is_some() {
            return None;
        }
        self.ask += 1;
        self.asked = Some(self.sent);
        Some(Say::Asks(DeviceAsked {
            ask: self.ask,
            sent: self.last_sent(),
        }))
    }

    /// The number of the last reading that was sent.
    fn last_sent(&self) -> u64 {
        let last = self.sent.checked_sub(1);
        let last = last.and_then(|last| self.measuring.readings.get(last));
        last.map_or(0, |measured| measured.reading.sequence)
    }

    /// It hears how far its readings are stored. What is stored stays so, whichever question that answers; what is
    /// lost is only known from the answer to the last one.
    pub fn told(&mut self, told: Stored) {
        let readings = &self.measuring.readings;
        let stored = readings.partition_point(|it| it.reading.sequence <= told.stored);
        self.stored = self.stored.max(stored);
        if told.ask == self.ask
            && let Some(asked) = self.asked.take()
        {
            if !self.is_told || self.stored < asked {
                // What was sent before and is not stored is lost, and what came after it was out of its turn.
                self.sent = self.stored;
            }
            self.is_told = true;
        }
        self.sent = self.sent.max(self.stored);
    }
}

#[cfg(test)]
mod tests {
    use ensue::Timestamp;

    use super::*;
    use crate::world::Measured;

    /// A device with readings of these numbers.
    fn device(numbers: &[u64], window: usize) -> Device {
        let before = std::iter::once(&0).chain(numbers);
        let readings = numbers.iter().zip(before);
        let readings = readings.map(|(&sequence, &previous)| Measured {
            reading: ReadingMeasured {
                sequence,
                previous: Some(previous),
                at: Timestamp::from_micros(0),
                value: Some(1.0),
            },
            is_said_twice: false,
        });
        let measuring = Measuring {
            device: "d".into(),
            readings: readings.collect(),
        };
        Device::new(measuring, window, 0)
    }

    /// Everything that it says until it waits: numbers of readings, and of the last question.
    fn says(device: &mut Device) -> (Vec<u64>, Option<DeviceAsked>) {
        let (mut readings, mut question) = (Vec::new(), None);
        while let Some(say) = device.say(true) {
            match say {
                Say::Reading(reading, 1) => readings.push(reading.sequence),
                Say::Reading(..) => unreachable!("none is said twice"),
                Say::Asks(asks) => question = Some(asks),
            }
        }
        (readings, question)
    }

    fn answer(device: &mut Device, question: &DeviceAsked, stored: u64) {
        device.told(Stored {
            ask: question.ask,
            sent: question.sent,
            stored,
        });
    }

    #[test]
    fn it_asks_first_and_begins_behind_what_is_stored() {
        let mut device = device(&[1, 2, 4, 5], 10);
        let (readings, question) = says(&mut device);
        assert_eq!((readings.len(), question.as_ref().unwrap().sent), (0, 0));
        answer(&mut device, &question.unwrap(), 2);
        assert_eq!(says(&mut device).0, [4, 5]);
    }

    #[test]
    fn it_sends_no_more_than_its_window_and_ends_when_all_is_stored() {
        let numbers: Vec<u64> = (1..=10).collect();
        let mut device = device(&numbers, 4);
        let (mut stored, mut all) = (0, Vec::new());
        while !device.is_done() {
            let (readings, question) = says(&mut device);
            all.extend(readings);
            assert!(device.sent - device.stored <= 4);
            let question = question.unwrap();
            stored = stored.max(question.sent);
            answer(&mut device, &question, stored);
        }
        assert_eq!(all, numbers, "none is sent twice when none is lost");
    }

    #[test]
    fn what_was_lost_is_sent_again_with_all_behind_it() {
        let mut device = device(&[1, 2, 3, 4, 5, 6], 4);
        let (_, question) = says(&mut device);
        answer(&mut device, &question.unwrap(), 0);
        let (readings, question) = says(&mut device);
        assert_eq!(readings, [1, 2, 3, 4]);
        assert_eq!(question.as_ref().unwrap().sent, 2);
        // The broker has lost 2, so that 3 and 4 are out of their turn.
        answer(&mut device, &question.unwrap(), 1);
        assert_eq!(says(&mut device).0, [2, 3, 4, 5]);
    }

    #[test]
    fn a_new_connection_begins_with_a_question_and_old_answers_say_only_what_is_stored() {
        let mut device = device(&[1, 2, 3], 10);
        let (_, question) = says(&mut device);
        answer(&mut device, &question.unwrap(), 0);
        let (readings, old) = says(&mut device);
        assert_eq!(readings.len(), 3);
        device.connected();
        let (readings, question) = says(&mut device);
        assert!(readings.is_empty(), "{readings:?}");
        answer(&mut device, &old.unwrap(), 2);
        assert!(
            says(&mut device).0.is_empty(),
            "that is not known to be lost"
        );
        answer(&mut device, &question.unwrap(), 2);
        assert_eq!(says(&mut device).0, [3]);
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again() {
        let mut device = device(&[1], 10);
        let first = says(&mut device).1.unwrap();
        assert_eq!(says(&mut device).1, None);
        device.unanswered();
        let second = says(&mut device).1.unwrap();
        assert!(second.ask > first.ask);
    }
}
