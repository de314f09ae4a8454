//! A sender of webhooks: its requests, verified, become events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use ensue::{Envelope, InvalidEvent, Timestamp};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::keyring::Keyring;
use super::rate::Rate;
use super::settings::SenderConfig;
use super::signature::{Claim, Unverified};

/// The largest body, in bytes, that is verified where it was read: more would hold up other requests.
const SMALL_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Sender {
    config: SenderConfig,
    keyring: Keyring,
    rate: Option<Mutex<Rate>>,
    /// Large bodies are verified one after the other: whoever knows the sender's name may send some, and
    /// keeps no more than one thread busy.
    large: Arc<Semaphore>,
}

/// Why a request does not become an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// It is verified, and one too many: the next may come after so long.
    #[error("the sender has sent as many requests in a minute as it may")]
    TooMany(Duration),
    #[error("the signature could not be verified: {0}")]
    Interrupted(String),
}

impl Sender {
    pub(super) fn new(config: SenderConfig) -> Result<Self, String> {
        Ok(Self {
            keyring: Keyring::open(config.secrets.clone())?,
            rate: config.rate_per_minute.map(Rate::per_minute).map(Mutex::new),
            large: Arc::new(Semaphore::new(1)),
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

    /// Whether the request is the sender's, and not one too many; gives its id, and the body again.
    pub(crate) async fn verify<B>(
        &self,
        claim: Claim,
        now: Timestamp,
        body: B,
    ) -> Result<(String, B), Refusal>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let secrets = self.keyring.current().await;
        let verify = move |claim: Claim, body: B| {
            let verified = claim.verify(&secrets, now, body.as_ref());
            verified.map(|()| (claim, body))
        };
        let verified = if body.as_ref().len() <= SMALL_BYTES_MAX {
            verify(claim, body)
        } else {
            let turn = self.large.clone().acquire_owned().await;
            let verifying = tokio::task::spawn_blocking(move || {
                // Kept until it is done, even if nobody waits for it any more.
                let _turn = turn;
                verify(claim, body)
            });
            let verified = verifying.await;
            verified.map_err(|error| Refusal::Interrupted(error.to_string()))?
        };
        let (claim, body) = verified?;
        claim.must_be_of(now, self.config.tolerance)?;
        // Only the sender itself uses up its rate.
        self.take_turn()?;
        Ok((claim.into_id(), body))
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::super::secret::tests::SHARED;
    use super::super::settings::WebhookConfig;
    use super::super::{keyring, signature};
    use super::*;

    fn sender() -> (Sender, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets");
        drop(crate::private::create(&path).unwrap());
        std::fs::write(&path, SHARED).unwrap();
        let text = format!(
            "[[in]]\nname = 'bank'\ntopic = 'payments'\ntype = 'e'\nsecrets = {{ file = '{}' }}",
            path.display()
        );
        let config: WebhookConfig = toml::from_str(&text).unwrap();
        (Sender::new(config.senders[0].clone()).unwrap(), directory)
    }

    fn claim(now: Timestamp, body: &[u8]) -> Claim {
        let secrets = keyring::parse(SHARED).unwrap();
        let signed = signature::sign(&secrets, now, "m", body).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(signature::ID, "m".parse().unwrap());
        headers.insert(signature::TIMESTAMP, signed.timestamp.into());
        headers.insert(signature::SIGNATURE, signed.signatures.parse().unwrap());
        Claim::of(&headers, now, Duration::from_secs(300)).unwrap()
    }

    #[tokio::test]
    async fn a_large_body_waits_for_its_turn_and_holds_up_no_small_one() {
        let (sender, _directory) = sender();
        let now = Timestamp::now();
        let large = vec![b'x'; SMALL_BYTES_MAX + 1];
        let turn = sender.large.acquire().await.unwrap();
        let mut verifying = pin!(sender.verify(claim(now, &large), now, large.clone()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(verifying.as_mut().poll(&mut context).is_pending());
        let small = large[1..].to_vec();
        let (id, body) = sender
            .verify(claim(now, &small), now, small.clone())
            .await
            .unwrap();
        assert_eq!((id.as_str(), body), ("m", small));
        drop(turn);
        let (id, body) = verifying.await.unwrap();
        assert_eq!((id.as_str(), body), ("m", large));
    }
}
