//! What a failed attempt leads to: another attempt, or a dead letter.

use crate::engine::{Death, DeathCause, Delivery, Retry};
use crate::failure::Failure;
use crate::service::HandlerOptions;
use crate::time::Timestamp;

/// What becomes of an event whose attempt failed.
#[derive(Debug)]
pub(crate) enum Verdict {
    Retry(Retry),
    Dead(Death),
}

/// The longest reason that is kept with an event, in bytes: it is for people.
const REASON_BYTES_MAX: usize = 1_024;

/// Judges a failed attempt of `delivery`; `random` in 0..1 decides the jitter of the wait.
pub(crate) fn judge(
    delivery: Delivery,
    failure: Failure,
    options: &HandlerOptions,
    now: Timestamp,
    random: f64,
) -> Verdict {
    let reason = failure.text(REASON_BYTES_MAX);
    let Delivery {
        envelope,
        position,
        attempt,
        ..
    } = delivery;
    // One that has a single attempt has none left to wait with.
    if failure.waits_for_another_program() && options.attempts > 1 {
        return Verdict::Retry(Retry {
            envelope,
            position,
            // One is left for the program that it waits for.
            attempt: attempt.min(options.attempts.saturating_sub(1)),
            due: now.plus(options.backoff.wait(u32::MAX, random)),
            reason,
        });
    }
    let cause = if failure.is_undecodable() {
        DeathCause::Undecodable
    } else if failure.is_refused() {
        DeathCause::Refused
    } else if failure.is_reject() {
        DeathCause::Rejected
    } else if attempt >= options.attempts {
        DeathCause::Exhausted
    } else {
        let due = now.plus(options.backoff.wait(attempt, random));
        return Verdict::Retry(Retry {
            envelope,
            position,
            attempt,
            due,
            reason,
        });
    };
    let on_dead = options.on_dead;
    Verdict::Dead(Death {
        envelope,
        position,
        attempts: attempt,
        cause,
        reason,
        on_dead,
    })
}

/// A delivery whose every attempt ended the process, if it is one.
pub(crate) fn crashed(delivery: &Delivery, options: &HandlerOptions) -> Option<Death> {
    let attempts = delivery.attempt.saturating_sub(1);
    (attempts >= options.attempts).then(|| Death {
        envelope: delivery.envelope.clone(),
        position: delivery.position,
        attempts,
        cause: DeathCause::Crashed,
        reason: format!("the process ended during each of {attempts} attempts"),
        on_dead: options.on_dead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Position, Run};
    use crate::event::Envelope;

    fn delivery(attempt: u32) -> Delivery {
        let envelope = Envelope::builder("t", "e").key("k").build().unwrap();
        Delivery {
            envelope,
            position: Position::new(7),
            attempt,
            generation: 0,
            run: Run::default(),
        }
    }

    #[test]
    fn a_retry_is_due_after_the_backoff_until_attempts_run_out() {
        let options = HandlerOptions::default().attempts(3);
        let failure = || Failure::retry("down");
        for attempt in 1..3 {
            match judge(
                delivery(attempt),
                failure(),
                &options,
                Timestamp::EPOCH,
                1.0,
            ) {
                Verdict::Retry(retry) => {
                    assert_eq!(
                        retry.due.since(Timestamp::EPOCH),
                        options.backoff.wait(attempt, 1.0)
                    );
                }
                Verdict::Dead(death) => panic!("{death:?}"),
            }
        }
        match judge(delivery(3), failure(), &options, Timestamp::EPOCH, 1.0) {
            Verdict::Dead(death) => {
                assert_eq!((death.cause, death.attempts), (DeathCause::Exhausted, 3))
            }
            Verdict::Retry(retry) => panic!("{retry:?}"),
        }
    }

    #[test]
    fn state_that_another_program_can_read_uses_up_no_attempts() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Cell;
        impl crate::State for Cell {
            const NAME: &'static str = "cell";
        }
        let unreadable = || crate::state::decode::<Cell>(b"no cell").err().unwrap();
        let options = HandlerOptions::default().attempts(3);
        for attempt in [1, 2, 3, 100] {
            let failure = Failure::from(unreadable());
            match judge(delivery(attempt), failure, &options, Timestamp::EPOCH, 1.0) {
                Verdict::Retry(retry) => {
                    assert_eq!(retry.due.since(Timestamp::EPOCH), options.backoff.max);
                    assert!(crashed(&delivery(retry.attempt + 1), &options).is_none());
                    assert!(retry.attempt < options.attempts);
                }
                Verdict::Dead(death) => panic!("{death:?}"),
            }
        }
    }

    #[test]
    fn a_rejection_is_final_at_once() {
        let options = HandlerOptions::default();
        match judge(
            delivery(1),
            Failure::reject("no"),
            &options,
            Timestamp::EPOCH,
            0.0,
        ) {
            Verdict::Dead(death) => assert_eq!(death.cause, DeathCause::Rejected),
            Verdict::Retry(retry) => panic!("{retry:?}"),
        }
    }

    #[test]
    fn what_waits_with_a_single_attempt_is_a_dead_letter_and_no_attempt_that_cannot_be() {
        let options = HandlerOptions::default().attempts(1);
        let failure = Failure::from(crate::error::PersonalError::Keys {
            problem: "away".into(),
            source: None,
        });
        assert!(failure.waits_for_another_program());
        let now = Timestamp::from_micros(0);
        match judge(delivery(1), failure, &options, now, 0.0) {
            Verdict::Dead(death) => assert_eq!(death.cause, DeathCause::Exhausted),
            Verdict::Retry(retry) => panic!("{retry:?}"),
        }
    }

    #[test]
    fn a_delivery_beyond_its_attempts_has_killed_its_process() {
        let options = HandlerOptions::default().attempts(2);
        assert!(crashed(&delivery(2), &options).is_none());
        assert_eq!(crashed(&delivery(3), &options).unwrap().attempts, 2);
    }
}
