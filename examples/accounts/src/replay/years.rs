//! The years that syslog leaves out.

use jiff::civil::Date;

/// A day that is written without its year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) month: i8,
    pub(crate) day: i8,
}

/// Any leap year: in one of these every day exists.
const LEAP_YEAR: i16 = 2_004;
/// Where nothing says otherwise, February has 28 days.
const COMMON_YEAR: i16 = 2_001;
/// A cycle of numbers that grow through a year, near enough to its days.
const CYCLE: i32 = 12 * DAYS_OF_MONTH;
const DAYS_OF_MONTH: i32 = 31;

/// Follows days through their years.
///
/// A day is of the year in which it is closest to the day before it in the file: a turn of the year
/// is noticed, and so is a line that comes late after one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Years {
    /// The last day as its number in the cycle, and how many years after the first line it is.
    last: Option<(i32, i16)>,
    /// A year that must have a 29th of February, in years after the first line.
    leap: Option<i16>,
}

impl Years {
    /// How many years after that of the first line this day is.
    pub(crate) fn follow(&mut self, day: Day) -> i16 {
        let number = i32::from(day.month - 1) * DAYS_OF_MONTH + i32::from(day.day - 1);
        let after = match self.last {
            None => 0,
            Some((last, after)) if number - last > CYCLE / 2 => after.saturating_sub(1),
            Some((last, after)) if last - number > CYCLE / 2 => after.saturating_add(1),
            Some((_, after)) => after,
        };
        self.last = Some((number, after));
        if (day.month, day.day) == (2, 29) {
            self.leap.get_or_insert(after);
        }
        after
    }

    /// The year of the first line, made up so that all days that were followed exist.
    pub(crate) fn first(&self) -> i16 {
        match self.leap {
            Some(after) => LEAP_YEAR.saturating_sub(after),
            None => COMMON_YEAR,
        }
    }
}

impl Day {
    /// `None` for a day that no year has.
    pub(crate) fn new(month: i8, day: i8) -> Option<Self> {
        Date::new(LEAP_YEAR, month, day).ok()?;
        Some(Self { month, day })
    }

    /// The date in this year, if it has the day.
    pub(crate) fn of(self, year: i16) -> Option<Date> {
        Date::new(year, self.month, self.day).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dates of days that follow each other in a file.
    fn dates<const N: usize>(days: [(i8, i8); N]) -> [String; N] {
        let days = days.map(|(month, day)| Day::new(month, day).unwrap());
        let mut years = Years::default();
        for day in days {
            years.follow(day);
        }
        let first = years.first();
        let mut years = Years::default();
        days.map(|day| day.of(first + years.follow(day)).unwrap().to_string())
    }

    #[test]
    fn a_turn_of_the_year_is_one_and_a_late_line_is_before_it() {
        assert_eq!(
            dates([(12, 31), (1, 1), (12, 31), (1, 2), (3, 1)]),
            [
                "2001-12-31",
                "2002-01-01",
                "2001-12-31",
                "2002-01-02",
                "2002-03-01"
            ]
        );
        assert_eq!(dates([(1, 1), (12, 31)]), ["2001-01-01", "2000-12-31"]);
    }

    #[test]
    fn months_in_any_order_are_of_one_year() {
        assert_eq!(
            dates([(6, 10), (3, 1), (5, 5), (3, 2)]),
            ["2001-06-10", "2001-03-01", "2001-05-05", "2001-03-02"]
        );
    }

    #[test]
    fn the_29th_of_february_makes_its_year_a_leap_year() {
        assert_eq!(
            dates([(12, 31), (2, 28), (2, 29), (3, 1)]),
            ["2003-12-31", "2004-02-28", "2004-02-29", "2004-03-01"]
        );
        assert_eq!(dates([(2, 28), (3, 1)]), ["2001-02-28", "2001-03-01"]);
        assert_eq!(Day::new(2, 30), None);
        assert_eq!(Day::new(13, 1), None);
        assert_eq!(Day::new(1, 0), None);
    }
}
