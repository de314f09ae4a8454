//! Which endpoints are disabled: events in a topic that only the server appends to, and a group that
//! remembers the last one of each endpoint.

use ensue::engine::Append;
use ensue::prelude::*;
use ensue::{Codec, HandlerOptions, Metrics, Position, Timestamp};

/// The topic, which no client can append to, and the group.
const TOPIC: &str = "_webhooks";
const GROUP: &str = "webhooks";
const EVENT: &str = "ensue.webhook.switched";
const SOURCE: &str = "/webhooks";
/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Whether an endpoint is disabled, since when and why.
#[derive(Clone, Debug, PartialEq, Eq, State, Serialize, Deserialize)]
#[state(name = "switch")]
pub(super) struct Switch {
    pub(super) is_disabled: bool,
    pub(super) reason: String,
    pub(super) since: Timestamp,
    /// Of two, the later counts.
    #[serde(default)]
    pub(super) position: u64,
}

/// The switches of all endpoints.
#[derive(Clone, Debug)]
pub(super) struct Switches(Engine);

impl Switches {
    pub(super) fn new(engine: Engine) -> Self {
        Self(engine)
    }

    /// What remembers them.
    pub(super) fn app(&self, metrics: Metrics) -> ensue::Result<App> {
        let topics = TOPIC.parse()?;
        let options = HandlerOptions::default();
        let remember = |event: Envelope, context: Context| async move {
            let switch: Switch = Codec::Json.decode(event.payload())?;
            let position = context.position().get();
            Ok::<_, Failure>(Effects::none().set_state(Switch { position, ..switch }))
        };
        let handler = ensue::Handler::raw("remember", topics, Some(EVENT), options, remember);
        Ok(App::new(self.0.clone())
            .count_in(metrics)
            .workers(1)
            .handler(GROUP, handler))
    }

    /// Switches an endpoint; durable when it returns.
    pub(super) async fn set(
        &self,
        endpoint: &str,
        is_disabled: bool,
        reason: &str,
    ) -> ensue::Result<Switch> {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let mut switch = Switch {
            is_disabled,
            reason: reason.get(..end).unwrap_or_default().to_owned(),
            since: self.0.clock().now(),
            position: 0,
        };
        let payload = serde_json::json!({
            "is_disabled": is_disabled, "reason": switch.reason, "since": switch.since,
        });
        let event = Envelope::builder(TOPIC, EVENT)
            .source(SOURCE)
            .key(endpoint)
            .payload(Codec::Json, payload.to_string().into_bytes())
            .build()?;
        let appended = self.0.append(vec![Append::from(event)]).await?;
        let position = appended.first().map(|it| it.position);
        switch.position = position.map_or(0, Position::get);
        Ok(switch)
    }

    /// Those that were ever switched, by endpoint.
    pub(super) async fn all(&self) -> Result<Vec<(String, Switch)>, ensue::StateError> {
        self.0.states(GROUP, TOPIC, None, 0).await
    }
}
