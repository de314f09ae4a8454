//! A line of syslog: when it was written, by which program, and what it says.

use ensue::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::years::Day;

/// A line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) stamp: Stamp,
    /// Without its process id.
    pub(crate) program: &'a str,
    pub(crate) message: &'a str,
}

/// When a line was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stamp {
    /// As RFC 3339 writes it: `2025-12-10T06:55:46.123456+01:00`.
    Dated(Timestamp),
    /// As RFC 3164 does: `Dec 10 06:55:46`, without year and zone.
    Yearless(Day, Time),
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl<'a> Line<'a> {
    /// Takes a line apart: `TIME HOST PROGRAM[PID]: MESSAGE`. `None` if it is none.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (stamp, rest) = Stamp::parse(line)?;
        let (head, message) = rest.split_once(": ")?;
        // Some leave out the host.
        let tag = match head.trim_start().split_once(' ') {
            Some((_host, tag)) => tag,
            None => head.trim_start(),
        };
        let program = tag.split_once('[').map_or(tag, |(program, _)| program);
        let message = message.trim_end();
        Some(Self {
            stamp,
            program,
            message,
        })
    }
}

impl Stamp {
    /// The time at which a line begins, and what is left of it.
    fn parse(line: &str) -> Option<(Self, &str)> {
        let (first, rest) = line.split_once(' ')?;
        let Some(month) = MONTHS.iter().position(|month| *month == first) else {
            let at: jiff::Timestamp = first.parse().ok()?;
            let at = Timestamp::from_micros(at.as_microsecond());
            return Some((Self::Dated(at), rest));
        };
        let (day, rest) = rest.trim_start().split_once(' ')?;
        let (time, rest) = rest.split_once(' ')?;
        let day = Day::new(month as i8 + 1, day.parse().ok()?)?;
        let time = Time::strptime("%H:%M:%S", time).ok()?;
        Some((Self::Yearless(day, time), rest))
    }

    /// The time, in the year that `year` says for a day without one; without a zone it is UTC.
    pub(crate) fn at(self, year: impl FnOnce(Day) -> i16) -> Option<Timestamp> {
        match self {
            Self::Dated(at) => Some(at),
            Self::Yearless(day, time) => {
                let date = day.of(year(day))?;
                let at = DateTime::from_parts(date, time)
                    .to_zoned(TimeZone::UTC)
                    .ok()?;
                Some(Timestamp::from_micros(at.timestamp().as_microsecond()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Option<String> {
        let line = Line::parse(line)?;
        assert_eq!((line.program, line.message), ("sshd", "It: said so"));
        Some(line.stamp.at(|_| 2_001)?.to_string())
    }

    #[test]
    fn times_are_written_with_and_without_a_year() {
        for (time, expected) in [
            ("Dec 10 06:55:46", "2001-12-10T06:55:46Z"),
            ("Jan  1 00:00:00", "2001-01-01T00:00:00Z"),
            ("2025-12-10T06:55:46.5+01:00", "2025-12-10T05:55:46.5Z"),
            ("2025-12-10T06:55:46Z", "2025-12-10T06:55:46Z"),
        ] {
            let found = at(&format!("{time} host sshd[1]: It: said so\r"));
            assert_eq!(found.as_deref(), Some(expected));
        }
        assert!(at("Dec 10 06:55:46 sshd: It: said so").is_some());
    }

    #[test]
    fn what_has_no_time_or_no_program_is_no_line() {
        for line in [
            "",
            "Dec 10 06:55:46",
            "Dec 10 06:55:46 host",
            "Dec 10 06:55:46 host sshd[1] It said so",
            "Feb 30 06:55:46 host sshd[1]: It: said so",
            "Dec 10 25:55:46 host sshd[1]: It: said so",
            "Dez 10 06:55:46 host sshd[1]: It: said so",
            "host sshd[1]: It: said so",
        ] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }
}
