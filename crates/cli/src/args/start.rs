//! Where in the log to begin.

use std::str::FromStr;

use ensue::{Cursor, Start, Timestamp};

use super::Moment;

/// `earliest`, `latest`, a position or a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartArg {
    Earliest,
    Latest,
    Cursor(Cursor),
    Time(Moment),
}

impl StartArg {
    /// The engine's form of it, seen from `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> Start {
        match self {
            Self::Earliest => Start::Earliest,
            Self::Latest => Start::Latest,
            Self::Cursor(cursor) => Start::Cursor(cursor),
            Self::Time(moment) => Start::Time(moment.resolve(now)),
        }
    }
}

impl FromStr for StartArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match text.parse::<Cursor>() {
                Ok(cursor) => Ok(Self::Cursor(cursor)),
                Err(_) => text.parse().map(Self::Time).map_err(|error| {
                    format!("it is neither `earliest`, `latest` nor a position, and {error}")
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_position_and_a_number_with_a_unit_a_time() {
        assert_eq!("earliest".parse(), Ok(StartArg::Earliest));
        for place in ["17", "17.4"] {
            let cursor: Cursor = place.parse().unwrap();
            assert_eq!(place.parse(), Ok(StartArg::Cursor(cursor)));
        }
        assert!(matches!("17m".parse(), Ok(StartArg::Time(Moment::Ago(_)))));
        assert!("newest".parse::<StartArg>().is_err());
    }
}
