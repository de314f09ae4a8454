//! The gateway's books: which charges were made, under which idempotency key.
//!
//! They are the gateway's own and know nothing of our log: after a crash the two may disagree, and
//! whether a customer was charged twice is for the books to say. One line of JSON per charge:
//! `["<idempotency key>","<order>"]`.
//!
//! Several processes may keep the same books. The one that charges holds the file's lock, and
//! reads what others have written before it writes. The system takes the lock back from a process
//! that is killed.

mod locked;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::locked::LockedFile;

/// The charges of a gateway.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// The order of each charge, by idempotency key.
    charges: HashMap<String, String>,
    file: Option<LockedFile>,
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
        let mut books = Books {
            charges: HashMap::new(),
            file: Some(LockedFile::open(path)?),
        };
        books.catch_up()?;
        Ok(Self(Mutex::new(books)))
    }

    /// Makes a charge, unless the idempotency key has made it before, and returns its number.
    ///
    /// The line is in the system's hands when this returns, which survives the end of this process;
    /// that it survives the machine's would be the gateway's business.
    ///
    /// # Errors
    /// What the system reports: the charge was not made then. A line that is no charge.
    pub fn charge(&self, idempotency_key: &str, order_id: &str) -> io::Result<String> {
        let mut books = self.books();
        let Books { charges, file } = &mut *books;
        if !charges.contains_key(idempotency_key) {
            if let Some(file) = file {
                let mut line = serde_json::to_vec(&(idempotency_key, order_id))?;
                line.push(b'\n');
                let mut lock = file.lock()?;
                note(charges, lock.read_new()?)?;
                // Another process may have made this charge a moment ago.
                if !charges.contains_key(idempotency_key) {
                    lock.append(&line)?;
                }
            }
            let charge = charges.entry(idempotency_key.to_owned());
            charge.or_insert_with(|| order_id.to_owned());
        }
        Ok(format!("charge-{idempotency_key}"))
    }

    /// How many charges each order has, whichever process made them.
    ///
    /// # Errors
    /// What the system reports, and a line that is no charge.
    pub fn charges_by_order(&self) -> io::Result<HashMap<String, u64>> {
        let mut books = self.books();
        books.catch_up()?;
        let mut by_order = HashMap::new();
        for order_id in books.charges.values() {
            *by_order.entry(order_id.clone()).or_default() += 1;
        }
        Ok(by_order)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A charge is one insertion: a panic cannot have left half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Reads what other processes have written.
    fn catch_up(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => note(&mut self.charges, file.lock()?.read_new()?),
            None => Ok(()),
        }
    }
}

fn note(charges: &mut HashMap<String, String>, lines: String) -> io::Result<()> {
    for line in lines.lines() {
        let (key, order_id) = serde_json::from_str(line).map_err(|error| {
            let reason = format!("`{line}` is no charge: {error}");
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
        charges.insert(key, order_id);
    }
    Ok(())
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
            let charges = ledger.charges_by_order().unwrap();
            assert_eq!((charges["o, \"1\""], charges["o2"]), (1, 2));
        }
    }

    #[test]
    fn books_that_several_keep_have_each_charge_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("charges");
        // A lock belongs to an open file description: these are as good as processes.
        let ledgers: Vec<_> = (0..4).map(|_| Ledger::open(&path).unwrap()).collect();
        std::thread::scope(|scope| {
            for ledger in &ledgers {
                scope.spawn(|| {
                    for number in 0..200 {
                        let order_id = format!("o{number}");
                        ledger.charge(&format!("k{number}"), &order_id).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 200, "{text}");
        for ledger in &ledgers {
            let charges = ledger.charges_by_order().unwrap();
            assert_eq!(charges.len(), 200);
            assert!(charges.values().all(|count| *count == 1), "{charges:?}");
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
        let why = Ledger::open(&path).unwrap_err().to_string();
        assert!(why.contains("nonsense"), "{why}");
    }
}
