//! The events of a decision, checked before anything of them is appended.

use super::Aggregate;
use super::attributes;
use crate::error::{AggregateError, Error, Result};
use crate::event::EnvelopeBuilder;
use crate::outgoing::Outgoing;

/// Whose events they are: what each of them says of its decision.
pub(super) struct Offer<'a> {
    /// The key of the aggregate.
    pub(super) key: &'a str,
    /// The version that it had when it was decided.
    pub(super) version: u64,
    /// The id of the decision, if it has one.
    pub(super) decision: Option<&'a str>,
    /// The service that decides, if one does.
    pub(super) decider: Option<&'a str>,
}

impl Offer<'_> {
    /// The events as they go into the log, each with the version that it makes, those for later without.
    pub(super) fn complete<A: Aggregate>(&self, events: Vec<Outgoing>) -> Result<Vec<Outgoing>> {
        let mut version = self.version;
        let mut completed = Vec::with_capacity(events.len());
        for mut event in events {
            // What cannot be encoded says so when it is published.
            if let Some(builder) = event.envelope() {
                let is_keyless = builder.key_text().is_empty();
                self.check::<A>(builder, is_keyless, event.is_for_later())?;
                if is_keyless {
                    event = event.key(self.key);
                }
            }
            if event.is_for_later() {
                completed.push(event);
                continue;
            }
            version += 1;
            event = event.extension(attributes::VERSION, version.to_string());
            if let Some(decision) = self.decision {
                event = event.extension(attributes::DECISION, decision.to_owned());
            }
            if let Some(decider) = self.decider {
                event = event.extension(attributes::DECIDER, decider.to_owned());
            }
            completed.push(event);
        }
        Ok(completed)
    }

    fn check<A: Aggregate>(
        &self,
        event: &EnvelopeBuilder,
        is_keyless: bool,
        is_for_later: bool,
    ) -> Result<()> {
        let (topic, key) = (event.topic_name(), event.key_text());
        let problem = if topic != A::TOPIC {
            format!(
                "its topic is `{topic}`, that of the aggregate is `{}`",
                A::TOPIC
            )
        } else if !is_keyless && key != self.key {
            format!("its key is `{key}`")
        } else if !A::EVENTS.contains(&event.type_name()) {
            "the aggregate does not apply this type".to_owned()
        } else if !is_for_later && event.id_text().is_some() {
            // Of an id that is known nothing is appended, and the versions behind it would have a gap for ever.
            "it has an id of its own, which may be known; give the decision an id instead, with `once`, or the \
             command"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Aggregate(AggregateError::Foreign {
            aggregate: A::NAME,
            key: self.key.to_owned(),
            event_type: event.type_name().to_owned(),
            problem,
        }))
    }
}
