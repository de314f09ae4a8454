//! Advisories that `deny.toml` lets pass. Each says why, and until when: what is put off is looked
//! at again.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// How an exception begins, and how its reason does.
const ID: &str = "id = \"RUSTSEC-";
const UNTIL: &str = "reason = \"until ";

/// Fails when an exception has no end, or its end has come.
pub(super) fn all_have_time_left(settings: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(settings)
        .map_err(|error| format!("cannot read {}: {error}", settings.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let today = now.map_or(0, |now| now.as_secs() / SECONDS_PER_DAY);
    check(&text, today)
}

fn check(settings: &str, today: u64) -> Result<(), String> {
    let exceptions = settings.lines().filter(|line| line.contains(ID));
    for line in exceptions {
        let line = line.trim();
        let end = line.split_once(UNTIL).and_then(|(_, rest)| day(rest));
        match end {
            None => {
                return Err(format!(
                    "deny.toml: write `{UNTIL}2030-12-31: …\"` into the exception `{line}`"
                ));
            }
            Some(end) if end < today => {
                return Err(format!(
                    "deny.toml: the exception has run out: `{line}`. Is there an update by now? \
                     Does the reason still hold?"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The date in `2030-12-31: …`, in days since 1970.
fn day(text: &str) -> Option<u64> {
    let (date, _) = text.split_once(':')?;
    let mut parts = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_date = parts.next().is_none() && year > 1970 && (1..=12).contains(&month);
    if !is_date || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400;
    // 719,468 days lead from the first of March of the year 0 to the first of January of 1970.
    Some((days + (153 * month + 2) / 5 + day - 1) - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(reason: &str) -> String {
        format!("ignore = [\n    {{ id = \"RUSTSEC-2026-0001\", reason = \"{reason}\" }},\n]\n")
    }

    #[test]
    fn a_date_is_a_number_of_days() {
        assert_eq!(day("1971-01-01: x"), Some(365));
        assert_eq!(day("2000-02-29: x"), Some(11_016));
        assert_eq!(day("2000-03-01: x"), Some(11_017));
        assert_eq!(day("2027-05-31: x"), Some(20_969));
        for none in [
            "2027-05-31",
            "2027-13-01: x",
            "2027-05: x",
            "soon: x",
            "2027-05-31-1: x",
        ] {
            assert_eq!(day(none), None, "{none}");
        }
    }

    #[test]
    fn an_exception_without_an_end_or_past_it_is_an_error() {
        assert_eq!(check("ignore = []", 20_969), Ok(()));
        let good = exception("until 2027-05-31: only the bench has it");
        assert_eq!(check(&good, 20_969), Ok(()));
        assert!(check(&good, 20_970).unwrap_err().contains("run out"));
        let endless = exception("only the bench has it");
        assert!(check(&endless, 0).unwrap_err().contains("until"));
    }
}
