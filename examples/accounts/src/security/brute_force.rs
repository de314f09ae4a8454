//! Finds addresses that try passwords.

use std::time::Duration;

use ensue::Timestamp;
use ensue::prelude::*;

use super::window::Failures;
use crate::events::{AddressBlocked, LoginFailed};

/// How long nothing from a blocked address is listened to.
pub const BLOCK: Duration = Duration::from_secs(15 * 60);

/// `login.failed` → `address.blocked`, if it is the last of too many in too short a time.
///
/// Time is that of the events, so that a recording gives what its own time gave. What it knows of
/// an address is state, which is committed together with what follows from it.
pub struct BruteForce;

/// What is known of an address.
#[derive(Default, State, Serialize, Deserialize)]
#[state(name = "failures")]
struct Known {
    failures: Failures,
    /// Until when it is blocked: what it does until then is part of what it is blocked for.
    blocked_until: Option<Timestamp>,
}

#[service]
impl BruteForce {
    #[on(publishes = [AddressBlocked])]
    async fn watch(&self, login: LoginFailed, ctx: &Context) -> Result<Effects, Failure> {
        let mut known = ctx.state::<Known>().await?.unwrap_or_default();
        let at = ctx.time();
        if known.blocked_until.is_some_and(|until| at <= until) {
            return Ok(Effects::none());
        }
        let Some(since) = known.failures.add(at, login.times) else {
            return Ok(Effects::none().set_state(known));
        };
        let until = at.plus(BLOCK);
        known.blocked_until = Some(until);
        let blocked = AddressBlocked {
            address: login.address,
            since,
            until,
        };
        let blocked = Outgoing::new(blocked).time(at);
        Ok(Effects::none().publish(blocked).set_state(known))
    }
}

#[cfg(test)]
mod tests {
    use ensue::testing::{Outcome, Scenario};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    async fn fails(scenario: &mut Scenario, second: i64) -> Outcome {
        let login = LoginFailed {
            address: "192.0.2.7".into(),
            times: 1,
        };
        let event = Envelope::of(&login).unwrap().time(at(second));
        scenario
            .when_envelope(event.build().unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_fifth_failure_within_a_minute_blocks_the_address() {
        let mut scenario = Scenario::of(BruteForce).await.unwrap();
        for second in [0, 10, 20, 30] {
            assert!(fails(&mut scenario, second).await.envelopes().is_empty());
        }
        let blocked = AddressBlocked {
            address: "192.0.2.7".into(),
            since: at(0),
            until: at(60).plus(BLOCK),
        };
        fails(&mut scenario, 60).await.then([blocked]);
    }

    #[tokio::test]
    async fn a_blocked_address_is_blocked_again_only_after_its_time() {
        let mut scenario = Scenario::of(BruteForce).await.unwrap();
        for second in 0..4 {
            assert!(fails(&mut scenario, second).await.envelopes().is_empty());
        }
        assert_eq!(fails(&mut scenario, 4).await.envelopes().len(), 1);
        for second in 5..100 {
            assert!(fails(&mut scenario, second).await.envelopes().is_empty());
        }
        for second in 1_000..1_004 {
            assert!(fails(&mut scenario, second).await.envelopes().is_empty());
        }
        assert_eq!(fails(&mut scenario, 1_004).await.envelopes().len(), 1);
    }
}
