//! What a log says of attempts to log in.

use std::collections::{BTreeSet, HashSet};

use ensue::engine::{Query, Recorded};
use ensue::prelude::*;
use serde::Serialize;

use crate::events::{AddressBlocked, LoginAccepted, LoginFailed, LoginOfInvalidUser};

/// The fold of all log-ins of a log, and of what followed from them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attempts {
    /// How many passwords were wrong.
    pub failed: u64,
    /// How many log-ins succeeded.
    pub accepted: u64,
    /// Both together.
    pub attempts: u64,
    /// How often a user was named who does not exist.
    pub invalid_user: u64,
    /// How many addresses all of these came from.
    pub addresses: u64,
    /// The addresses that were blocked, in the order of their characters.
    pub blocked: BTreeSet<String>,
}

impl Attempts {
    /// Reads a log from its beginning to its end.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn read(engine: &Engine) -> ensue::Result<Self> {
        let mut attempts = Self::default();
        let mut addresses = HashSet::new();
        for topic in [LoginFailed::TOPIC, AddressBlocked::TOPIC] {
            let mut events = engine.read(Query {
                topics: Some(topic.parse()?),
                ..Query::default()
            });
            while let Some(event) = events.next().await {
                attempts.add(&event?, &mut addresses)?;
            }
        }
        attempts.attempts = attempts.failed.saturating_add(attempts.accepted);
        attempts.addresses = addresses.len() as u64;
        Ok(attempts)
    }

    fn add(&mut self, event: &Recorded, addresses: &mut HashSet<String>) -> ensue::Result<()> {
        let event = &event.envelope;
        let (count, times, address) = match event.event_type() {
            LoginFailed::TYPE => {
                let LoginFailed { address, times } = event.decode()?;
                (&mut self.failed, times, address)
            }
            LoginAccepted::TYPE => {
                let LoginAccepted { address, times } = event.decode()?;
                (&mut self.accepted, times, address)
            }
            LoginOfInvalidUser::TYPE => {
                let LoginOfInvalidUser { address, times } = event.decode()?;
                (&mut self.invalid_user, times, address)
            }
            AddressBlocked::TYPE => {
                self.blocked.insert(event.key().to_owned());
                return Ok(());
            }
            _ => return Ok(()),
        };
        *count = count.saturating_add(times);
        addresses.insert(address);
        Ok(())
    }
}
