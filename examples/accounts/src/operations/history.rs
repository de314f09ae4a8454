//! What is known of a user: log-ins, and everything.

use std::collections::VecDeque;

use ensue::engine::Query;
use ensue::prelude::*;
use ensue::{Events, Personal, Timestamp};
use serde_json::Value;

use super::denied::OperationError;
use super::logging_in::Caller;
use crate::accounts::Accounts;
use crate::domain::User;
use crate::events::{UserExported, UserLoggedIn, UserLoginFailed};

/// How many log-ins are listed, and how many events are exported: the newest.
pub const HISTORY_MAX: usize = 1_000;

/// An attempt to log in as a user.
#[derive(Debug, Serialize)]
pub struct LogIn {
    /// When.
    pub at: Timestamp,
    /// Where from.
    pub address: String,
    /// Whether it was.
    pub is_accepted: bool,
}

/// An event of a user, without what would let others become the user.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When.
    pub time: Timestamp,
    /// What is said of it.
    pub data: Value,
}

impl Accounts {
    /// The newest attempts to log in as the caller, the oldest first.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn log_ins(&self, caller: &Caller) -> Result<Vec<LogIn>, OperationError> {
        let types = [UserLoggedIn::TYPE, UserLoginFailed::TYPE];
        let mut events = self.events_of(caller, types)?;
        let mut newest = VecDeque::new();
        while let Some(event) = events.next().await {
            let event = event?.envelope;
            let (mut address, is_accepted) = match event.event_type() {
                UserLoggedIn::TYPE => (decoded::<UserLoggedIn>(&event)?.address, true),
                _ => (decoded::<UserLoginFailed>(&event)?.address, false),
            };
            self.engine.unmask(&mut address).await?;
            let log_in = LogIn {
                at: event.time(),
                address: address.into_known().unwrap_or_default(),
                is_accepted,
            };
            keep(&mut newest, log_in);
        }
        Ok(newest.into())
    }

    /// All that has happened to the caller, the oldest first.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn export(&self, caller: &Caller) -> Result<Vec<Exported>, OperationError> {
        let user = caller.user.clone();
        let export = |_: &User| UserExported { user: user.clone() };
        let Ok(_) = self.users.decide(caller.user.as_str(), export).await?;
        let mut events = self.events_of(caller, [])?;
        let mut newest = VecDeque::new();
        while let Some(event) = events.next().await {
            let event = event?.envelope;
            let mut data: Value = serde_json::from_slice(event.payload()).unwrap_or_default();
            if let Some(fields) = data.as_object_mut() {
                for secret in ["password", "session", "email_key", "origin", "reset"] {
                    fields.remove(secret);
                }
                for field in fields.values_mut() {
                    self.open(field).await?;
                }
            }
            let exported = Exported {
                event_type: event.event_type().to_owned(),
                time: event.time(),
                data,
            };
            keep(&mut newest, exported);
        }
        Ok(newest.into())
    }

    /// Opens a field, if it is sealed. All of them are texts.
    async fn open(&self, field: &mut Value) -> ensue::Result<()> {
        let Ok(mut sealed) = Personal::<String>::deserialize(&*field) else {
            return Ok(());
        };
        self.engine.unmask(&mut sealed).await?;
        *field = sealed.into_known().map_or(Value::Null, Value::String);
        Ok(())
    }

    fn events_of<const N: usize>(
        &self,
        caller: &Caller,
        types: [&str; N],
    ) -> ensue::Result<Events> {
        Ok(self.engine.read(Query {
            topics: Some(UserLoggedIn::TOPIC.parse()?),
            key: Some(caller.user.as_str().to_owned()),
            types: types.map(str::to_owned).to_vec(),
            ..Query::default()
        }))
    }
}

fn decoded<E: Event>(event: &Envelope) -> ensue::Result<E> {
    Ok(event.decode()?)
}

fn keep<T>(newest: &mut VecDeque<T>, next: T) {
    if newest.len() == HISTORY_MAX {
        newest.pop_front();
    }
    newest.push_back(next);
}
