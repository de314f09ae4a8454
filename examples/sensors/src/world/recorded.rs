//! One device's readings, recorded in the format of the Numenta Anomaly Benchmark: `timestamp,value`, in UTC.

use std::io::Read;
use std::path::{Path, PathBuf};

use ensue::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Measured, Measuring, World};
use crate::events::ReadingMeasured;

/// How many bad rows are told one by one.
const TOLD_MAX: usize = 10;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// It is not CSV.
    #[error("{}: {source}; expected are rows of timestamp,value", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: csv::Error,
    },
}

/// Rows that are no readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRows {
    /// How many.
    pub count: u64,
    /// The first of them: which line, and what is wrong.
    pub first: Vec<(u64, String)>,
}

impl BadRows {
    fn add(&mut self, line: u64, reason: String) {
        self.count += 1;
        if self.first.len() < TOLD_MAX {
            self.first.push((line, reason));
        }
    }
}

/// A recording: every row is a reading of its own, also when two have the same time.
#[derive(Debug, Default)]
pub struct Recording {
    readings: Vec<Measured>,
    bad: BadRows,
}

impl Recording {
    /// Loads a file as a world of one device, which is named after the file and its content: another content is
    /// another device's.
    ///
    /// # Errors
    /// [`RecordedError`]. A row that is no reading is no error: it is counted.
    pub fn load(path: &Path) -> Result<World, RecordedError> {
        let content = std::fs::read(path).map_err(|source| RecordedError::Read {
            path: path.to_owned(),
            source,
        })?;
        let recording = Self::read(&*content).map_err(|source| RecordedError::Csv {
            path: path.to_owned(),
            source,
        })?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let stem: String = stem
            .chars()
            .map(|it| if it.is_ascii_alphanumeric() { it } else { '_' })
            .collect();
        let name = format!("{stem}-{:08x}", crc32c::crc32c(&content));
        Ok(World {
            devices: vec![Measuring {
                device: name.clone(),
                readings: recording.readings.into(),
            }],
            bad_rows: recording.bad,
            name,
        })
    }

    /// Reads rows.
    ///
    /// # Errors
    /// When it cannot be read, or is not CSV.
    pub fn read(content: impl Read) -> Result<Self, csv::Error> {
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(content);
        let mut recording = Self::default();
        let mut row = csv::ByteRecord::new();
        let mut is_first = true;
        while rows.read_byte_record(&mut row)? {
            let line = row.position().map_or(0, csv::Position::line);
            recording.add(&row, line, std::mem::take(&mut is_first));
        }
        Ok(recording)
    }

    fn add(&mut self, row: &csv::ByteRecord, line: u64, is_first: bool) {
        let field = |index| {
            let bytes = row.get(index).unwrap_or_default();
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            String::from_utf8_lossy(bytes).trim().to_owned()
        };
        let (at, value) = (field(0), field(1));
        match (time(&at), number(&value)) {
            (Ok(at), Ok(value)) => self.measured(at, value),
            // Neither is what it should be, where names of columns may stand.
            (Err(_), Err(_)) if is_first && !at.is_empty() && !value.is_empty() => {}
            (Err(reason), _) | (_, Err(reason)) => self.bad.add(line, reason),
        }
    }

    fn measured(&mut self, at: Timestamp, value: f64) {
        let previous = self.readings.len() as u64;
        self.readings.push(Measured {
            reading: ReadingMeasured {
                sequence: previous + 1,
                previous: Some(previous),
                at,
                value: Some(value),
            },
            is_said_twice: false,
        });
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let civil: DateTime = text
        .trim_end_matches('Z')
        .parse()
        .map_err(|_| format!("`{text}` is not a time such as 2013-12-02 21:15:00"))?;
    let zoned = civil.to_zoned(TimeZone::UTC);
    let zoned = zoned.map_err(|_| format!("`{text}` is not a time in UTC"))?;
    Ok(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("`{text}` is not a finite number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, f64)>, BadRows) {
        let recording = Recording::read(text.as_bytes()).unwrap();
        let numbers = recording.readings.iter().map(|it| it.reading.sequence);
        assert!(numbers.eq(1..=recording.readings.len() as u64));
        let readings = recording.readings.into_iter();
        let readings = readings.map(|it| (it.reading.at.to_string(), it.reading.value.unwrap()));
        (readings.collect(), recording.bad)
    }

    #[test]
    fn every_row_is_a_reading_also_at_the_same_time() {
        let text = "timestamp,value\n2013-12-02 21:15:00,73.9\n2013-12-02 21:15:00,73.9\n";
        let (readings, bad) = read(text);
        let reading = ("2013-12-02T21:15:00Z".to_owned(), 73.9);
        assert_eq!(readings, [reading.clone(), reading]);
        assert_eq!(bad, BadRows::default());
    }

    #[test]
    fn a_header_is_no_row_and_need_not_be_there() {
        let row = "2014-01-01 00:00:00,1";
        for text in [
            row.to_owned(),
            format!("time,temperature\r\n{row}\r\n"),
            format!("\u{feff}timestamp,value\n{row}"),
            format!("\u{feff}{row}\n"),
            format!("\n\n{row}\n\n"),
        ] {
            let (readings, bad) = read(&text);
            assert_eq!((readings.len(), bad.count), (1, 0), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_read_exactly() {
        let row = |value: &str| format!("2014-01-01 00:00:00,{value}\n");
        for (text, value) in [
            ("-3.5", -3.5),
            ("1e3", 1_000.0),
            ("-2.5E-7", -2.5e-7),
            ("+4", 4.0),
            (".5", 0.5),
            ("73.96732207", 73.967_322_07),
            (" 7 ", 7.0),
            ("1e300", 1e300),
        ] {
            assert_eq!(read(&row(text)).0[0].1, value, "{text}");
        }
    }

    #[test]
    fn bad_rows_are_counted_with_their_lines() {
        let text = "timestamp,value\n2014-01-01 00:00:00,1\n2014-01-01 00:05:00,x\n,\nyesterday,2\n\
                    2014-01-01 00:10:00,nan\n2014-01-01 00:15:00,1e999\n2014-01-01 00:20:00\n\
                    2014-13-01 00:00:00,1\n2014-01-01 00:25:00,3\n";
        let (readings, bad) = read(text);
        assert_eq!(readings.len(), 2);
        let lines: Vec<_> = bad.first.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(bad.count, 7);
        assert!(bad.first[0].1.contains("`x`"), "{bad:?}");
    }

    #[test]
    fn a_first_row_that_is_half_a_reading_is_a_bad_row_and_no_header() {
        for text in ["2014-01-01 00:00:00,x\n", "x,1\n", "2014-01-01 00:00:00\n"] {
            assert_eq!(read(text).1.count, 1, "{text}");
        }
    }
}
