//! An endpoint: a consumer group whose handler sends the event to a receiver.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use ensue::engine::OnDead;
use ensue::prelude::*;
use ensue::{
    Codec, Engine, Handler, HandlerOptions, InvalidEvent, Metrics, ServiceOptions, Start,
    Timestamp, TraceContext,
};
use ensue_cesql::{Expression, Value};

use super::answer::{Answer, Verdict};
use super::client::Client;
use super::content::{webhook_id, written};
use super::gate::{Gate, Shown};
use super::keyring::Keyring;
use super::responses::{Response, Responses, shown};
use super::settings::{AfterDead, EndpointConfig, StartAt};
use super::signature::{ID, SIGNATURE, TIMESTAMP, sign};
use super::switch::{Switch, Switches};
use crate::attributes::OfEvent;
use crate::outgoing::Connector;
use crate::personal::Masks;
use crate::trace::Tracing;

/// A delivery that waits at its endpoint's gate is not cut off: this is longer than a server runs.
const WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);
/// How often one attempt comes again because the receiver said when to.
const LATER_MAX: u32 = 10;
/// How long handlers that wait at the gate may hold up the end.
const SHUTDOWN: Duration = Duration::from_secs(1);
const USER_AGENT: &str = concat!("Ensue/", env!("CARGO_PKG_VERSION"));
/// What a test delivery is.
const TEST: &str = "ensue.webhook.test";

pub(crate) struct Endpoint {
    config: EndpointConfig,
    uri: Uri,
    filter: Option<Expression>,
    filter_errors: AtomicU64,
    keyring: Keyring,
    client: Client,
    gate: Gate,
    responses: Responses,
    /// What the receiver does not get.
    masks: Arc<Masks>,
    engine: Engine,
    tracing: Tracing,
    switches: Switches,
    switch: Mutex<Option<Switch>>,
    /// Why its group does not go on, if it does not.
    trouble: Mutex<Option<String>>,
}

/// What an endpoint does at present.
#[derive(Debug)]
pub(crate) struct State {
    /// `active`, `disabled`, `circuit_open`, `trying`, `paused`, `failed` or `stopped`.
    pub(crate) name: &'static str,
    /// When it is called again, if that is known.
    pub(crate) until: Option<Timestamp>,
    /// Why it is disabled, or what is wrong.
    pub(crate) reason: Option<String>,
    pub(crate) failures: u32,
    pub(crate) filter_errors: u64,
    /// Why its secrets are not read any more, if they are not.
    pub(crate) secrets_trouble: Option<String>,
}

impl Endpoint {
    /// What it signs with. Says why that cannot be.
    pub(super) fn keyring(config: &EndpointConfig) -> Result<Keyring, String> {
        let keyring = Keyring::open(config.secrets.clone())?;
        if !keyring.can_sign() {
            return Err(
                "`secrets` has public keys only, which do not sign; add the private key \
                        (`whsk_…`) or a shared secret (`whsec_…`)"
                    .to_owned(),
            );
        }
        Ok(keyring)
    }

    /// An endpoint, which does nothing yet. Says why it cannot be.
    pub(super) fn new(
        config: EndpointConfig,
        connector: Connector,
        masks: &Arc<Masks>,
        engine: &Engine,
        tracing: &Tracing,
    ) -> Result<Self, String> {
        let keyring = Self::keyring(&config)?;
        Ok(Self {
            uri: config.url.uri()?,
            filter: config.expression()?,
            filter_errors: AtomicU64::new(0),
            keyring,
            client: Client::new(connector, config.concurrency),
            gate: Gate::new(config.circuit_failures, config.circuit_pause, config.rate),
            responses: Responses::default(),
            masks: if config.personal {
                Arc::default()
            } else {
                masks.clone()
            },
            engine: engine.clone(),
            tracing: tracing.clone(),
            switches: Switches::new(engine.clone()),
            switch: Mutex::new(None),
            trouble: Mutex::new(None),
            config,
        })
    }

    pub(crate) fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// Its group.
    pub(crate) fn group(&self) -> String {
        self.config.group()
    }

    /// What runs it.
    pub(super) fn app(self: &Arc<Self>, metrics: Metrics) -> App {
        let config = &self.config;
        let options = HandlerOptions::default()
            .attempts(config.attempts)
            .backoff(config.backoff.min, config.backoff.max)
            .timeout(WAIT_MAX)
            .on_dead(match config.on_dead {
                AfterDead::Park => OnDead::Park,
                AfterDead::Skip => OnDead::Skip,
            });
        let start = match config.start {
            StartAt::Latest => Start::Latest,
            StartAt::Earliest => Start::Earliest,
        };
        let group = self.group();
        let mut app = App::new(self.engine.clone())
            .count_in(metrics)
            .shutdown_deadline(SHUTDOWN)
            .service_options(
                &group,
                ServiceOptions::new()
                    .start_at(start)
                    .workers(1)
                    .concurrency(config.concurrency),
            );
        app = self.tracing.app(app);
        for topics in &config.topics {
            let this = self.clone();
            let deliver = move |event: Envelope, context: Context| {
                let this = this.clone();
                async move { this.deliver(event, context).await }
            };
            let topics = topics.clone();
            app = app.handler(
                &group,
                Handler::raw("deliver", topics, None, options.clone(), deliver),
            );
        }
        app
    }

    /// Whether the endpoint is to have an event.
    fn wants(&self, event: &Envelope) -> bool {
        let types = &self.config.types;
        if !types.is_empty() && !types.iter().any(|wanted| wanted == event.event_type()) {
            return false;
        }
        let Some(filter) = &self.filter else {
            return true;
        };
        let event = OfEvent(event);
        let evaluation = filter.evaluate(&event);
        if evaluation.error.is_some() {
            self.filter_errors.fetch_add(1, Relaxed);
            return false;
        }
        evaluation.value == Value::Boolean(true)
    }

    /// Sends an event, when the endpoint may be called.
    async fn deliver(&self, event: Envelope, context: Context) -> Result<(), Failure> {
        // What was delivered before a reset that holds back effects is not delivered again.
        if context.is_held_back() {
            return Ok(());
        }
        // Before the filter: whether an event passes says what is in it.
        let masked = self.masks.masked(event.topic(), &event).transpose();
        let event = match masked {
            Ok(masked) => masked.unwrap_or(event),
            Err(error) => return Err(Failure::reject(error.to_string())),
        };
        if !self.wants(&event) {
            return Ok(());
        }
        let mut later = 0;
        loop {
            let pass = self.gate.enter().await;
            let answer = self.send(&event, context.trace()).await;
            let mut verdict = self.verdict(&answer);
            if let Verdict::Later(_) = verdict {
                later += 1;
                if later > LATER_MAX {
                    verdict = Verdict::Failed;
                }
            }
            self.keep(&event, context.attempt(), &answer, verdict);
            if verdict == Verdict::Gone {
                // Before another delivery enters.
                self.gate.set_disabled(true);
            }
            let is_shared = pass.end(verdict.health());
            match verdict {
                Verdict::Delivered => return Ok(()),
                Verdict::Gone => {
                    let reason = answer.text();
                    if let Err(error) = self.set_disabled(true, &reason).await {
                        tracing::warn!(
                            endpoint = self.config.name, %error,
                            "the endpoint is disabled until the server is started again only"
                        );
                    }
                }
                Verdict::Later(_) => {}
                Verdict::Failed if is_shared => {}
                Verdict::Refused => return Err(Failure::reject(answer.text())),
                Verdict::OfEvent | Verdict::Failed => {
                    return Err(Failure::retry(answer.text()));
                }
            }
        }
    }

    fn verdict(&self, answer: &Answer) -> Verdict {
        answer.verdict(self.config.backoff.min, self.config.retry_after_max)
    }

    /// One signed request, in the trace of the attempt.
    async fn send(&self, event: &Envelope, trace: Option<TraceContext>) -> Answer {
        let call = self.tracing.call(trace, &self.uri);
        let (headers, body) = written(event, call.trace(), self.config.content);
        let answer = self.send_written(event, headers, body).await;
        call.answered(match &answer.result {
            Ok(head) => Ok(head.status.as_u16()),
            Err(problem) => Err(problem.clone()),
        });
        answer
    }

    async fn send_written(&self, event: &Envelope, headers: HeaderMap, body: Bytes) -> Answer {
        match self.signed(&webhook_id(event), headers, &body).await {
            Ok(headers) => {
                let timeout = self.config.timeout;
                self.client
                    .post(self.uri.clone(), headers, body, timeout)
                    .await
            }
            Err(problem) => not_sent(problem),
        }
    }

    async fn signed(
        &self,
        id: &str,
        mut headers: HeaderMap,
        body: &Bytes,
    ) -> Result<HeaderMap, String> {
        let secrets = self.keyring.current().await;
        let Some(signed) = sign(&secrets, self.engine.clock().now(), id, body) else {
            return Err("none of the endpoint's secrets that sign is in force; add one".to_owned());
        };
        let values = [
            (ID, id.to_owned()),
            (TIMESTAMP, signed.timestamp.to_string()),
            (SIGNATURE, signed.signatures),
        ];
        for (name, value) in values {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        Ok(headers)
    }

    fn keep(&self, event: &Envelope, attempt: u32, answer: &Answer, verdict: Verdict) -> Response {
        let outcome = match verdict {
            Verdict::Delivered => "delivered",
            Verdict::Gone => "gone",
            Verdict::Later(_) => "later",
            Verdict::Refused => "refused",
            Verdict::OfEvent | Verdict::Failed => "failed",
        };
        let response = Response {
            time: self.engine.clock().now(),
            topic: event.topic().to_owned(),
            webhook_id: webhook_id(event),
            event_type: event.event_type().to_owned(),
            key: event.key().to_owned(),
            attempt,
            outcome,
            status: answer.result.as_ref().ok().map(|head| head.status.as_u16()),
            problem: (verdict != Verdict::Delivered).then(|| answer.text()),
            took_ms: u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
            body: shown(&answer.body),
            masked: false,
        };
        tracing::debug!(
            endpoint = self.config.name,
            id = response.webhook_id,
            attempt,
            outcome,
            status = response.status,
            problem = response.problem,
            "webhook"
        );
        self.responses.add(response.clone());
        response
    }

    /// Sends a test, whatever the gate says: it is an event of its own, which is not in the log.
    pub(crate) async fn test(&self) -> Result<Response, InvalidEvent> {
        let payload = serde_json::json!({ "endpoint": self.config.name }).to_string();
        let event = Envelope::builder("webhooks", TEST)
            .source(format!("/webhooks/{}", self.config.name))
            .payload(Codec::Json, payload.into_bytes())
            .build()?;
        let answer = self.send(&event, None).await;
        let verdict = self.verdict(&answer);
        Ok(self.keep(&event, 0, &answer, verdict))
    }

    /// Disables or enables the endpoint, durably, with a reason.
    pub(crate) async fn set_disabled(&self, is_disabled: bool, reason: &str) -> ensue::Result<()> {
        let switched = self.switches.set(&self.config.name, is_disabled, reason);
        self.apply(switched.await?);
        Ok(())
    }

    /// Takes a switch that came from the log, unless a later one is known.
    pub(super) fn apply(&self, switch: Switch) {
        let mut known = lock(&self.switch);
        if known
            .as_ref()
            .is_some_and(|it| it.position >= switch.position)
        {
            return;
        }
        let has_changed = self.gate.set_disabled(switch.is_disabled);
        if has_changed || known.is_none() {
            tracing::info!(
                endpoint = self.config.name,
                is_disabled = switch.is_disabled,
                reason = switch.reason,
                "endpoint switched"
            );
        }
        *known = Some(switch);
    }

    /// Lets nothing more begin, and waits for what is on its way.
    pub(super) async fn drain(&self) {
        self.gate.stop().await;
    }

    /// Its group cannot go on.
    pub(super) fn failed(&self, error: &ensue::Error) {
        *lock(&self.trouble) = Some(error.to_string());
    }

    /// What it does at present.
    pub(crate) fn state(&self) -> State {
        let now = self.engine.clock().now();
        let later = |wait| Some(now.plus(wait));
        let trouble = lock(&self.trouble).clone();
        let (name, until) = match self.gate.shown() {
            _ if trouble.is_some() => ("failed", None),
            Shown::Active => ("active", None),
            Shown::Disabled => ("disabled", None),
            Shown::Open(wait) => ("circuit_open", later(wait)),
            Shown::Trying => ("trying", None),
            Shown::Paused(wait) => ("paused", later(wait)),
            Shown::Stopped => ("stopped", None),
        };
        let switch = lock(&self.switch);
        let disabled = switch.as_ref().filter(|it| it.is_disabled);
        State {
            name,
            until,
            reason: trouble.or_else(|| disabled.map(|it| it.reason.clone())),
            failures: self.gate.failures(),
            filter_errors: self.filter_errors.load(Relaxed),
            secrets_trouble: self.keyring.trouble(),
        }
    }

    /// The public keys that its deliveries verify with, if it has any.
    pub(crate) fn public_keys(&self) -> Vec<String> {
        self.keyring.public_keys(self.engine.clock().now())
    }

    /// The last responses, the newest first.
    pub(crate) fn responses(&self) -> Vec<Response> {
        self.responses.all()
    }

    /// The newest of them.
    pub(crate) fn last(&self) -> Option<Response> {
        self.responses.last()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}

/// What comes of a delivery that cannot be written.
fn not_sent(problem: String) -> Answer {
    Answer {
        result: Err(problem),
        took: Duration::ZERO,
        body: Vec::new(),
    }
}
