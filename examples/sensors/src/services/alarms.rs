//! Alarms: looks for what is unusual in what a device measures.

use ensue::prelude::*;

use super::detector::{Detector, Finding};
use crate::events::{AlarmCleared, AlarmKind, AlarmRaised, ReadingAccepted};

/// `reading.accepted` → `alarm.raised`, `alarm.cleared`: anomalies, and silence in what was measured.
///
/// Time is that of the readings, so that a recording gives what its own time gave, at any speed.
pub(super) struct Alarms;

/// What is usual for a device, and what is wrong with it.
#[derive(Default, State, Serialize, Deserialize)]
#[state(name = "usual")]
struct Usual(Detector);

#[service]
impl Alarms {
    #[on(publishes = [AlarmRaised, AlarmCleared])]
    async fn look(&self, reading: ReadingAccepted, ctx: &Context) -> Result<Effects, Failure> {
        let Usual(mut detector) = ctx.state().await?.unwrap_or_default();
        let (device, at) = (reading.device, reading.at);
        let raised = |kind, since| AlarmRaised {
            device: device.clone(),
            kind,
            since,
        };
        let cleared = |kind, since| AlarmCleared {
            device: device.clone(),
            kind,
            since,
            until: at,
        };
        let mut effects = Effects::none();
        for finding in detector.look(at, reading.value) {
            effects = match finding {
                Finding::Anomaly => {
                    effects.publish(Outgoing::new(raised(AlarmKind::Anomaly, at)).time(at))
                }
                Finding::Usual { since } => {
                    effects.publish(Outgoing::new(cleared(AlarmKind::Anomaly, since)).time(at))
                }
                Finding::WasSilent { since } => effects
                    .publish(Outgoing::new(raised(AlarmKind::Silence, since)).time(at))
                    .publish(Outgoing::new(cleared(AlarmKind::Silence, since)).time(at)),
            };
        }
        Ok(effects.set_state(Usual(detector)))
    }
}

#[cfg(test)]
mod tests {
    use ensue::Timestamp;
    use ensue::testing::Scenario;

    use super::*;

    #[tokio::test]
    async fn an_alarm_is_raised_and_cleared_once_each() {
        let mut alarms = Scenario::of(Alarms).await.unwrap();
        let mut said = Vec::new();
        for number in 0..200_u64 {
            let is_far = (100..110).contains(&number);
            let usual = 20.0 + (number % 5) as f64;
            let reading = ReadingAccepted {
                device: "d".into(),
                sequence: number + 1,
                missing: 0,
                at: Timestamp::from_micros(number as i64 * 60_000_000),
                value: if is_far { 90.0 } else { usual },
            };
            let outcome = alarms.when(reading).await.unwrap();
            for event in outcome.envelopes() {
                said.push((number, event.event_type().to_owned()));
            }
        }
        let types: Vec<_> = said.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(types, ["alarm.raised", "alarm.cleared"], "{said:?}");
        assert_eq!(said[0].0, 100);
        // Five readings after 90 has become less unusual than it was.
        assert!(said[1].0 >= 105, "{said:?}");
    }
}
