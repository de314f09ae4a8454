//! The gateway's books: which charges were made, under which idempotency key.
//!
//! They are the gateway's own and know nothing of our log: after a crash the two may disagree, and
//! whether a customer was charged twice is for the books to say. One line of JSON per charge:
//! `["<idempotency key>","<order>"]`.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The charges of a gateway.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// The order of each charge, by idempotency key.
    charges: HashMap<String, String>,
    file: Option<File>,
}

impl Ledger {
    /// Books that are gone with the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Books in a file, which is made if it is not there.
    ///
    /// # Errors
    /// What the system reports, and a line that is no charge.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line without its end was being written when the machine stopped: nobody was told of it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text.truncate(whole);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let charges = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>();
        Ok(Self(Mutex::new(Books {
            charges: charges.map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}: {error}", path.display()),
                )
            })?,
            file: Some(file),
        })))
    }

    /// Makes a charge, unless the idempotency key has made it before, and returns its number.
    ///
    /// The line is in the system's hands when this returns, which survives the end of this process;
    /// that it survives the machine's would be the gateway's business.
    ///
    /// # Errors
    /// What the system reports: the charge was not made then.
    pub fn charge(&self, idempotency_key: &str, order_id: &str) -> io::Result<String> {
        let mut books = self.books();
        if !books.charges.contains_key(idempotency_key) {
            if let Some(file) = &mut books.file {
                let mut line = serde_json::to_vec(&(idempotency_key, order_id))?;
                line.push(b'\n');
                file.write_all(&line)?;
            }
            books
                .charges
                .insert(idempotency_key.to_owned(), order_id.to_owned());
        }
        Ok(format!("charge-{idempotency_key}"))
    }

    /// How many charges each order has.
    pub fn charges_by_order(&self) -> HashMap<String, u64> {
        let mut by_order = HashMap::new();
        for order_id in self.books().charges.values() {
            *by_order.entry(order_id.clone()).or_default() += 1;
        }
        by_order
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A charge is one insertion: a panic cannot have left half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_made_once_per_key_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/charges");
        for _restart in 0..2 {
            let ledger = Ledger::open(&path).unwrap();
            for _attempt in 0..2 {
                assert_eq!(ledger.charge("k1", "o, \"1\"").unwrap(), "charge-k1");
            }
            ledger.charge("k2", "o2").unwrap();
            ledger.charge("k3", "o2").unwrap();
            let charges = ledger.charges_by_order();
            assert_eq!((charges["o, \"1\""], charges["o2"]), (1, 2));
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_charge() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("charges");
        std::fs::write(&path, "[\"k1\",\"o1\"]\n[\"k2\",\"o").unwrap();
        Ledger::open(&path).unwrap().charge("k3", "o3").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "[\"k1\",\"o1\"]\n[\"k3\",\"o3\"]\n");
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(
            Ledger::open(&path)
                .unwrap_err()
                .to_string()
                .contains("charges")
        );
    }
}
