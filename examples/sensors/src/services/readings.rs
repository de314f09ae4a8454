//! Readings: holds what is valid, new and in its turn.

use ensue::prelude::*;

use crate::events::{
    DeviceAsked, DeviceTold, ReadingAccepted, ReadingMeasured, ReadingRejected, ReadingRepeated,
};

/// `reading.measured` → `reading.accepted`, `reading.rejected` or `reading.repeated`, or nothing if it is out of
/// its turn; `device.asked` → `device.told`.
///
/// A reading that comes before its turn is not held: its device learns from the answer to its next question that
/// something before it was lost, and sends all of it again. So what is accepted of a device is always in the order
/// in which it was measured, whatever the broker has lost, and what follows from that order is the same every time.
pub(super) struct Readings;

/// How far a device's readings are stored.
#[derive(Default, State, Serialize, Deserialize)]
#[state(name = "stored")]
struct Stored {
    /// The number of the last one.
    last: u64,
}

#[service]
impl Readings {
    // What does not decode has no number, and holds up nothing that has one.
    #[on(
        on_dead = "skip",
        publishes = [ReadingAccepted, ReadingRejected, ReadingRepeated]
    )]
    async fn measured(&self, reading: ReadingMeasured, ctx: &Context) -> Result<Effects, Failure> {
        let Stored { last } = ctx.state().await?.unwrap_or_default();
        let ReadingMeasured {
            sequence,
            previous,
            at,
            value,
        } = reading;
        let device = ctx.key().to_owned();
        if sequence <= last {
            let repeated = ReadingRepeated { device, sequence };
            return Ok(Effects::none().publish(Outgoing::new(repeated).time(at)));
        }
        if previous.is_some_and(|previous| previous > last) {
            return Ok(Effects::none());
        }
        let missing = sequence - last - 1;
        let held = match value {
            Some(value) => Outgoing::new(ReadingAccepted {
                device,
                sequence,
                missing,
                at,
                value,
            }),
            None => Outgoing::new(ReadingRejected {
                device,
                sequence,
                missing,
                reason: "the probe gave no number".to_owned(),
            }),
        };
        let stored = Stored { last: sequence };
        Ok(Effects::none().publish(held.time(at)).set_state(stored))
    }

    #[on(on_dead = "skip", publishes = [DeviceTold])]
    async fn asked(&self, asked: DeviceAsked, ctx: &Context) -> Result<DeviceTold, Failure> {
        let Stored { last } = ctx.state().await?.unwrap_or_default();
        Ok(DeviceTold {
            device: ctx.key().to_owned(),
            ask: asked.ask,
            sent: asked.sent,
            stored: last,
        })
    }
}

#[cfg(test)]
mod tests {
    use ensue::Timestamp;
    use ensue::testing::{Outcome, Scenario};

    use super::*;

    fn at(number: u64) -> Timestamp {
        Timestamp::from_micros(number as i64 * 1_000_000)
    }

    async fn said<E: Event>(readings: &mut Scenario, event: &E) -> Outcome {
        let envelope = Envelope::of(event).unwrap().key("d");
        let envelope = envelope.build().unwrap();
        readings.when_envelope(envelope).await.unwrap()
    }

    async fn measured(readings: &mut Scenario, sequence: u64, previous: Option<u64>) -> Outcome {
        let reading = ReadingMeasured {
            sequence,
            previous,
            at: at(sequence),
            value: Some(sequence as f64),
        };
        said(readings, &reading).await
    }

    fn accepted(sequence: u64, missing: u64) -> ReadingAccepted {
        ReadingAccepted {
            device: "d".into(),
            sequence,
            missing,
            at: at(sequence),
            value: sequence as f64,
        }
    }

    async fn stored(readings: &mut Scenario) -> u64 {
        let asked = DeviceAsked { ask: 9, sent: 0 };
        let told = said(readings, &asked).await.envelopes();
        told[0].decode::<DeviceTold>().unwrap().stored
    }

    #[tokio::test]
    async fn what_comes_in_turn_is_accepted_and_what_comes_again_is_repeated() {
        let mut readings = Scenario::of(Readings).await.unwrap();
        measured(&mut readings, 1, Some(0))
            .await
            .then([accepted(1, 0)]);
        measured(&mut readings, 2, Some(1))
            .await
            .then([accepted(2, 0)]);
        let repeated = ReadingRepeated {
            device: "d".into(),
            sequence: 1,
        };
        measured(&mut readings, 1, Some(0)).await.then([repeated]);
        assert_eq!(stored(&mut readings).await, 2);
    }

    #[tokio::test]
    async fn what_is_out_of_turn_is_not_held_until_what_is_before_it_has_come() {
        let mut readings = Scenario::of(Readings).await.unwrap();
        measured(&mut readings, 2, Some(1)).await.then_nothing();
        assert_eq!(stored(&mut readings).await, 0);
        measured(&mut readings, 1, Some(0))
            .await
            .then([accepted(1, 0)]);
        measured(&mut readings, 2, Some(1))
            .await
            .then([accepted(2, 0)]);
    }

    #[tokio::test]
    async fn numbers_that_the_device_has_lost_are_missing() {
        let mut readings = Scenario::of(Readings).await.unwrap();
        measured(&mut readings, 3, Some(0))
            .await
            .then([accepted(3, 2)]);
        // A device without a memory does not know what was before.
        measured(&mut readings, 5, None)
            .await
            .then([accepted(5, 1)]);
    }

    #[tokio::test]
    async fn what_is_no_number_is_rejected_and_its_successor_is_in_turn() {
        let mut readings = Scenario::of(Readings).await.unwrap();
        let broken = ReadingMeasured {
            sequence: 1,
            previous: Some(0),
            at: at(1),
            value: None,
        };
        let outcome = said(&mut readings, &broken).await;
        let rejected: ReadingRejected = outcome.envelopes()[0].decode().unwrap();
        assert_eq!((rejected.sequence, rejected.missing), (1, 0));
        measured(&mut readings, 2, Some(1))
            .await
            .then([accepted(2, 0)]);
    }
}
