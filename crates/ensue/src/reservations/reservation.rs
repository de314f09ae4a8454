//! One value that one holder may have.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::{Event, Outgoing, aggregate};

/// A value is held for a holder, until it is confirmed or the time is over.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "reservation.held", topic = "reservations")]
pub(super) struct Held {
    holder: String,
    until: Timestamp,
    /// The id of the event that ends it.
    expiry: String,
}

/// A value belongs to its holder.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "reservation.confirmed", topic = "reservations")]
pub(super) struct Confirmed {
    holder: String,
}

/// A holder has given a value back.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "reservation.released", topic = "reservations")]
pub(super) struct Released {
    holder: String,
}

/// The time of a hold is over. It is scheduled together with the hold, and no one looks before it is
/// appended: what it means is decided by where it is, behind or before a confirmation.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "reservation.expired", topic = "reservations")]
pub(super) struct Expired {
    expiry: String,
}

/// Who has a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reservation {
    #[default]
    Free,
    Held {
        holder: String,
        until: Timestamp,
        expiry: String,
    },
    Confirmed {
        holder: String,
    },
}

/// Why a value cannot be reserved: another holder has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("it is taken")]
#[non_exhaustive]
pub struct Taken {
    /// Until when it is held, if that is not for good. It may be confirmed before.
    pub until: Option<Timestamp>,
}

/// Why a reservation cannot be confirmed: it is not, or no longer, the holder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the reservation has expired, or was never made")]
pub struct NotHeld;

#[aggregate(name = "reservation")]
impl Reservation {
    #[apply]
    fn held(&mut self, event: Held) {
        let Held {
            holder,
            until,
            expiry,
        } = event;
        *self = Self::Held {
            holder,
            until,
            expiry,
        };
    }

    #[apply]
    fn confirmed(&mut self, event: Confirmed) {
        *self = Self::Confirmed {
            holder: event.holder,
        };
    }

    #[apply]
    fn released(&mut self, _: Released) {
        *self = Self::Free;
    }

    #[apply]
    fn expired(&mut self, event: Expired) {
        if self.expiry() == Some(&event.expiry) {
            *self = Self::Free;
        }
    }

    /// Holds the value, or, if the holder has it, holds it until then.
    pub(super) fn reserve(
        &self,
        by: &str,
        until: Timestamp,
        expiry: &str,
    ) -> Result<Option<[Outgoing; 2]>, Taken> {
        match self {
            Self::Confirmed { holder } if holder == by => return Ok(None),
            Self::Held { holder, .. } if holder == by => {}
            Self::Free => {}
            Self::Held { until, .. } => {
                return Err(Taken {
                    until: Some(*until),
                });
            }
            Self::Confirmed { .. } => return Err(Taken { until: None }),
        }
        let expiry = expiry.to_owned();
        let held = Held {
            holder: by.to_owned(),
            until,
            expiry: expiry.clone(),
        };
        let id = expiry.clone();
        let expired = Outgoing::new(Expired { expiry }).id(id).at(until);
        Ok(Some([held.into(), expired]))
    }

    pub(super) fn confirm(&self, by: &str) -> Result<Option<Confirmed>, NotHeld> {
        match self {
            Self::Confirmed { holder } if holder == by => Ok(None),
            Self::Held { holder, .. } if holder == by => Ok(Some(Confirmed {
                holder: by.to_owned(),
            })),
            _ => Err(NotHeld),
        }
    }

    pub(super) fn release(&self, by: &str) -> Option<Released> {
        (self.holder() == Some(by)).then(|| Released {
            holder: by.to_owned(),
        })
    }

    pub(super) fn holder(&self) -> Option<&str> {
        match self {
            Self::Free => None,
            Self::Held { holder, .. } | Self::Confirmed { holder } => Some(holder),
        }
    }

    /// The event that ends the hold.
    pub(super) fn expiry(&self) -> Option<&str> {
        match self {
            Self::Held { expiry, .. } => Some(expiry),
            Self::Free | Self::Confirmed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::given;

    const LATER: Timestamp = Timestamp::from_micros(1_000_000);

    fn held(holder: &str, expiry: &str) -> Held {
        Held {
            holder: holder.into(),
            until: LATER,
            expiry: expiry.into(),
        }
    }

    fn expired(expiry: &str) -> Expired {
        Expired {
            expiry: expiry.into(),
        }
    }

    #[test]
    fn a_value_is_held_by_one_until_its_own_hold_expires() {
        let others = |it: &Reservation| it.reserve("b", LATER, "x2");
        let taken = Taken { until: Some(LATER) };
        given::<Reservation>(held("a", "x1"))
            .when(others)
            .then_refused(taken);
        given::<Reservation>((held("a", "x1"), expired("x0")))
            .when(others)
            .then_refused(taken);
        let free = given::<Reservation>((held("a", "x1"), expired("x1")));
        free.when(others).then([
            held("b", "x2").into(),
            Outgoing::new(expired("x2")).id("x2").at(LATER),
        ]);
    }

    #[test]
    fn what_came_first_counts_the_confirmation_or_the_end() {
        let confirmed = || Confirmed { holder: "a".into() };
        given::<Reservation>((held("a", "x1"), confirmed(), expired("x1")))
            .when(|it| it.confirm("a"))
            .then_nothing();
        given::<Reservation>((held("a", "x1"), expired("x1")))
            .when(|it| it.confirm("a"))
            .then_refused(NotHeld);
        given::<Reservation>(confirmed())
            .when(|it| it.reserve("b", LATER, "x2"))
            .then_refused(Taken { until: None });
    }

    #[test]
    fn a_holder_prolongs_its_own_hold_and_releases_nothing_of_others() {
        let longer = LATER.plus(Duration::from_secs(1));
        let prolonged =
            given::<Reservation>(held("a", "x1")).when(|it| it.reserve("a", longer, "x2"));
        let after = prolonged.after().and(expired("x1"));
        assert_eq!(
            after.state().holder(),
            Some("a"),
            "the first end means nothing now"
        );
        after.clone().when(|it| it.release("b")).then_nothing();
        let released = after.when(|it| it.release("a"));
        released.then_state(|it| assert_eq!(*it, Reservation::Free));
    }
}
