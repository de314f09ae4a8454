//! The addresses that are blocked now, as the log says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue::Timestamp;
use ensue::engine::Query;
use ensue::prelude::*;
use tokio::task::JoinHandle;

use crate::events::AddressBlocked;

/// How many addresses are blocked at a time; of more, those whose time is over first are free again.
pub const BLOCKED_MAX: usize = 65_536;

/// Blocked addresses, which follow a log until this is dropped.
pub struct Blocked {
    until: Arc<Mutex<HashMap<String, Timestamp>>>,
    task: JoinHandle<()>,
}

impl Blocked {
    /// Follows the log of this engine.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn follow(engine: &Engine) -> ensue::Result<Self> {
        let query = Query {
            topics: Some(AddressBlocked::TOPIC.parse()?),
            types: vec![AddressBlocked::TYPE.to_owned()],
            ..Query::default()
        };
        let mut events = engine.read(query).follow();
        let until = Arc::new(Mutex::new(HashMap::new()));
        let followed = until.clone();
        let clock = engine.clock().clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let blocked = event.and_then(|it| Ok(it.envelope.decode::<AddressBlocked>()?));
                match blocked {
                    Ok(blocked) => block(&mut locked(&followed), blocked, clock.now()),
                    Err(error) => tracing::error!(%error, "a blocked address cannot be followed"),
                }
            }
        });
        Ok(Self { until, task })
    }

    /// Until when an address is blocked, if it is now.
    pub fn until(&self, address: &str, now: Timestamp) -> Option<Timestamp> {
        let until = locked(&self.until).get(address).copied();
        until.filter(|until| now < *until)
    }
}

fn block(until: &mut HashMap<String, Timestamp>, blocked: AddressBlocked, now: Timestamp) {
    if blocked.until <= now {
        return;
    }
    if until.len() >= BLOCKED_MAX {
        until.retain(|_, until| now < *until);
    }
    if until.len() >= BLOCKED_MAX
        && let Some(first) = until.iter().min_by_key(|(_, until)| **until)
    {
        let first = first.0.clone();
        until.remove(&first);
    }
    until.insert(blocked.address, blocked.until);
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    // An insertion is done or not: a panic cannot have left half of one.
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_are_blocked() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let mut until = HashMap::new();
        for number in 0..BLOCKED_MAX as i64 + 10 {
            let blocked = AddressBlocked {
                address: number.to_string(),
                since: at(0),
                until: at(100 + number),
            };
            block(&mut until, blocked, at(50));
        }
        assert_eq!(until.len(), BLOCKED_MAX);
        assert!(!until.contains_key("9") && until.contains_key("10"));
        let over = AddressBlocked {
            address: "x".into(),
            since: at(0),
            until: at(40),
        };
        block(&mut until, over, at(50));
        assert!(!until.contains_key("x"));
    }
}
