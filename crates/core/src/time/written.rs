//! Timestamps as text, without a formatter: pages of events have two each.

use super::Timestamp;

/// The longest text: `9999-12-31T23:59:59.999999Z`.
const BYTES_MAX: usize = 27;
const MICROS_OF_DAY: i64 = 86_400_000_000;
/// Days from the year 0, the 1st of March, to the Unix epoch.
const DAYS_TO_EPOCH: i64 = 719_468;
const DAYS_OF_ERA: i64 = 146_097;

/// A timestamp of the years 0 to 9999 in RFC 3339, in UTC, with as much of a second as it has.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Written {
    /// `None` for years that RFC 3339 cannot write down.
    pub(crate) fn of(at: Timestamp) -> Option<Self> {
        if at != at.within_rfc_3339() {
            return None;
        }
        let (days, of_day) = (
            at.as_micros().div_euclid(MICROS_OF_DAY),
            at.as_micros().rem_euclid(MICROS_OF_DAY),
        );
        let (year, month, day) = date(days);
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        let mut written = Self {
            bytes: *b"0000-00-00T00:00:00.000000Z",
            length: BYTES_MAX,
        };
        written.set::<4>(0, year);
        written.set::<2>(5, month);
        written.set::<2>(8, day);
        written.set::<2>(11, seconds / 3_600);
        written.set::<2>(14, seconds / 60 % 60);
        written.set::<2>(17, seconds % 60);
        written.set::<6>(20, micros);
        written.trim();
        Some(written)
    }

    /// Writes the last `N` digits of a number.
    fn set<const N: usize>(&mut self, at: usize, mut number: i64) {
        for digit in self.bytes.iter_mut().skip(at).take(N).rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    /// Leaves out the zeroes at the end of a fraction, and a fraction of zeroes.
    fn trim(&mut self) {
        let shown = self.bytes.get(..BYTES_MAX - 1).unwrap_or_default();
        let kept = shown.iter().rposition(|byte| *byte != b'0').unwrap_or(0);
        // With nothing behind it, the point goes too; what is before it has colons.
        let end = match shown.get(kept) {
            Some(b'.') => kept,
            _ => (kept + 1).max(19),
        };
        if let Some(last) = self.bytes.get_mut(end) {
            *last = b'Z';
            self.length = end + 1;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The year, month and day of a day after the Unix epoch: eras of 400 years, whose years begin in March, have the
/// leap day at the end.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: i64 = -62_167_219_200_000_000;
    const LAST: i64 = 253_402_207_200_000_000;

    fn written(micros: i64) -> String {
        let written = Written::of(Timestamp::from_micros(micros)).unwrap();
        String::from_utf8(written.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_fraction_has_as_many_digits_as_it_needs() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (500_000, "1970-01-01T00:00:00.5Z"),
            (10_000_000, "1970-01-01T00:00:10Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (FIRST, "0000-01-01T00:00:00Z"),
            (LAST, "9999-12-30T22:00:00Z"),
        ] {
            assert_eq!(written(micros), expected);
        }
        for micros in [FIRST - 1, LAST + 1, i64::MIN, i64::MAX] {
            assert!(Written::of(Timestamp::from_micros(micros)).is_none());
        }
    }

    proptest! {
        /// Whoever else writes it.
        #[test]
        fn a_timestamp_is_what_jiff_writes(micros in FIRST..=LAST, is_round: bool) {
            let micros = if is_round { micros / 1_000_000 * 1_000_000 } else { micros };
            let expected = jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
            prop_assert_eq!(written(micros), expected);
        }
    }
}
