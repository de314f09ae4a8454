//! Where in the log to begin.

use std::str::FromStr;

use ensue::{Position, Start, Timestamp};

use super::Moment;

/// `earliest`, `latest`, a position or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartArg {
    Earliest,
    Latest,
    Position(Position),
    Time(Moment),
}

impl StartArg {
    /// The engine's form of it, seen from `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> Start {
        match self {
            Self::Earliest => Start::Earliest,
            Self::Latest => Start::Latest,
            Self::Position(position) => Start::Position(position),
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
            _ => match text.parse() {
                Ok(number) => Ok(Self::Position(Position::new(number))),
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
        assert_eq!("17".parse(), Ok(StartArg::Position(Position::new(17))));
        assert!(matches!("17m".parse(), Ok(StartArg::Time(Moment::Ago(_)))));
        assert!("newest".parse::<StartArg>().is_err());
    }
}
