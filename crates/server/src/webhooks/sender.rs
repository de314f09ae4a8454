//! A sender of webhooks: its requests, verified, become events.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use ensue::{Envelope, InvalidEvent, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::keyring::Keyring;
use super::rate::Rate;
use super::settings::{SenderConfig, TOLERANCE};
use super::signature::{Claim, Unverified};

#[derive(Debug)]
pub(crate) struct Sender {
    config: SenderConfig,
    keyring: Keyring,
    rate: Option<Mutex<Rate>>,
}

/// Why a request does not become an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// It is verified, and one too many: the next may come after so long.
    #[error("the sender has sent as many requests in a minute as it may")]
    TooMany(Duration),
}

impl Sender {
    pub(super) fn new(config: SenderConfig) -> Result<Self, String> {
        Ok(Self {
            keyring: Keyring::open(config.secrets.clone())?,
            rate: config.rate_per_minute.map(Rate::per_minute).map(Mutex::new),
            config,
        })
    }

    pub(crate) fn config(&self) -> &SenderConfig {
        &self.config
    }

    /// Why its secrets are not read any more, if they are not.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.keyring.trouble()
    }

    /// What a request claims, before its body is read: most of those that are not the sender's end
    /// here.
    pub(crate) fn claim<'a>(
        &self,
        now: Timestamp,
        headers: &'a HeaderMap,
    ) -> Result<Claim<'a>, Unverified> {
        Claim::of(headers, now, self.config.tolerance)
    }

    /// The same of a sender that there is not: strangers are told the same.
    pub(crate) fn claim_of_unknown(
        now: Timestamp,
        headers: &HeaderMap,
    ) -> Result<Claim<'_>, Unverified> {
        Claim::of(headers, now, TOLERANCE)
    }

    /// Whether the request is the sender's, and not one too many; gives its id.
    pub(crate) async fn verify<'a>(
        &self,
        claim: &Claim<'a>,
        now: Timestamp,
        body: &[u8],
    ) -> Result<&'a str, Refusal> {
        let secrets = self.keyring.current().await;
        let id = claim.verify(&secrets, now, body)?;
        // Only the sender itself uses up its rate.
        self.take_turn()?;
        Ok(id)
    }

    /// The event that a request is, its body byte by byte.
    pub(crate) fn event(
        &self,
        id: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Envelope, InvalidEvent> {
        let text = |name| headers.get(name)?.to_str().ok();
        let content_type = text(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let event_type = self.config.event_type.clone().unwrap_or_default();
        let event = Envelope::builder(&self.config.topic, event_type)
            .id(id)
            .source(self.config.source())
            .key(self.key(&body).unwrap_or_default());
        event.opaque_payload(content_type, body).build()
    }

    /// A CloudEvent of the sender, in the sender's topic.
    pub(crate) fn cloud_event(&self, event: &Envelope) -> Result<Envelope, InvalidEvent> {
        let source = self.config.source.as_deref().unwrap_or_default();
        if !event.source().starts_with(source) {
            return Err(InvalidEvent::Attribute {
                name: "source".to_owned(),
                problem: format!("does not begin with `{source}`, as this sender's events do"),
            });
        }
        event.to_builder().topic(&self.config.topic).build()
    }

    /// The key of an event: a string or an integer in its body.
    fn key(&self, body: &[u8]) -> Option<String> {
        let pointer = self.config.key.as_ref()?;
        let body: Value = serde_json::from_slice(body).ok()?;
        match body.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        }
    }

    fn take_turn(&self) -> Result<(), Refusal> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        let now = Instant::now();
        let turn = rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(now);
        turn.map_err(|at| Refusal::TooMany(at.saturating_duration_since(now)))
    }

    /// Whether the handshake of CloudEvents may name this origin.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        let mut origins = self.config.origins.iter();
        origins.any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}
