//! The settings of webhooks: `[webhooks]` in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use ensue::{Backoff, TopicPattern};
use ensue_cesql::Expression;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keyring::SecretSource;
use super::url::ReceiverUrl;
use crate::duration;
use crate::outgoing::Network;
use crate::range::{within, within_times};

/// The most endpoints of a server, and the most senders.
const ENDPOINTS_MAX: usize = 1_000;
/// The longest name of one, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most topics or types of one.
const TOPICS_MAX: usize = 64;
/// What the name of an endpoint's group begins with.
pub(super) const GROUP_PREFIX: &str = "webhook.";
const CONCURRENCY_MAX: usize = 256;
/// How old a request of a sender may be, unless it is said.
pub(super) const TOLERANCE: Duration = Duration::from_secs(300);
const RATE_MAX: u32 = 100_000;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Webhooks, out and in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WebhookConfig {
    /// Networks inside that may be called, such as `10.1.0.0/16`: by default none may.
    pub allow: Vec<Network>,
    /// A file with the certificates of the authorities that sign those of receivers, in place of the
    /// system's.
    pub ca_file: Option<PathBuf>,
    /// Where events are delivered to.
    #[serde(rename = "endpoint")]
    pub endpoints: Vec<EndpointConfig>,
    /// Who may send events.
    #[serde(rename = "in")]
    pub senders: Vec<SenderConfig>,
}

/// An endpoint that events are delivered to: a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EndpointConfig {
    /// Its name: letters, digits, `-` and `_`. Its group is `webhook.NAME`.
    pub name: String,
    /// Where to, with `https`; with `http` only inside.
    pub url: ReceiverUrl,
    /// The topics, or patterns of them, that it is sent.
    pub topics: Vec<TopicPattern>,
    /// The types of events that it is sent; all when there are none.
    #[serde(default)]
    pub types: Vec<String>,
    /// Only events that pass this expression of CloudEvents SQL.
    #[serde(default)]
    pub filter: Option<String>,
    /// What deliveries are signed with.
    pub secrets: SecretSource,
    /// How an event is written.
    #[serde(default)]
    pub content: ContentMode,
    /// Whether the receiver gets the fields that are personal.
    #[serde(default)]
    pub personal: bool,
    /// Where a new endpoint starts. One that exists goes on where it is.
    #[serde(default)]
    pub start: StartAt,
    /// How many times an event is tried before it becomes a dead letter.
    #[serde(default = "defaults::attempts")]
    pub attempts: u32,
    /// How long to wait between attempts, doubling: `1s..1h`.
    #[serde(default = "defaults::backoff", with = "range")]
    pub backoff: Backoff,
    /// How long one attempt may take, with everything.
    #[serde(default = "defaults::timeout", with = "duration")]
    pub timeout: Duration,
    /// How many events are on their way at the same time, of different keys.
    #[serde(default = "defaults::concurrency")]
    pub concurrency: usize,
    /// The most deliveries in a second; no limit when it is not said.
    #[serde(default)]
    pub rate: Option<u32>,
    /// After so many failures in a row nothing is sent for a while (the circuit opens).
    #[serde(default = "defaults::circuit_failures")]
    pub circuit_failures: u32,
    /// How long nothing is sent then, doubling each time that the receiver still fails.
    #[serde(default = "defaults::circuit_pause", with = "range")]
    pub circuit_pause: Backoff,
    /// The longest `Retry-After` of a receiver that is followed.
    #[serde(default = "defaults::retry_after_max", with = "duration")]
    pub retry_after_max: Duration,
    /// What a dead letter means to later events of its key.
    #[serde(default)]
    pub on_dead: AfterDead,
}

/// A sender of events: who it is, and what its requests become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SenderConfig {
    /// Its name: it sends to `/v1/webhooks/in/NAME`.
    pub name: String,
    /// The topic of its events.
    pub topic: String,
    /// What its requests are.
    #[serde(default)]
    pub content: SenderContent,
    /// The type of its events; CloudEvents bring their own.
    #[serde(default, rename = "type")]
    pub event_type: Option<String>,
    /// The source of its events; `/webhooks/NAME` when it is not said. Of CloudEvents, what their
    /// sources have to begin with.
    #[serde(default)]
    pub source: Option<String>,
    /// Where in a JSON body the key of the event is, as a JSON Pointer (`/data/order_id`); without it
    /// events have no key.
    #[serde(default)]
    pub key: Option<String>,
    /// What its requests are verified with.
    pub secrets: SecretSource,
    /// How far the timestamp of a request may be from this server's clock.
    #[serde(default = "defaults::tolerance", with = "duration")]
    pub tolerance: Duration,
    /// The origins that the handshake of CloudEvents allows, `*` for all: none by default.
    #[serde(default)]
    pub origins: Vec<String>,
    /// The most requests in a minute; no limit when it is not said.
    #[serde(default)]
    pub rate_per_minute: Option<u32>,
}

/// What the requests of a sender are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderContent {
    /// Anything: the body is the payload.
    #[default]
    Payload,
    /// CloudEvents, in the structured or the binary mode.
    CloudEvents,
}

/// How an event is written into a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentMode {
    /// As one JSON object with everything.
    #[default]
    Structured,
    /// The payload as it is, and the attributes as headers.
    Binary,
}

/// Where a new endpoint starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// With what comes from now on.
    #[default]
    Latest,
    /// With everything that the log has.
    Earliest,
}

/// What a dead letter means to later events of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterDead {
    /// They wait until it is redriven or discarded.
    #[default]
    Park,
    /// They go on.
    Skip,
}

mod defaults {
    use super::{Backoff, Duration, HOUR};

    /// With the backoff below about a day.
    pub(super) fn attempts() -> u32 {
        40
    }

    pub(super) fn backoff() -> Backoff {
        Backoff::new(Duration::from_secs(1), HOUR)
    }

    pub(super) fn timeout() -> Duration {
        Duration::from_secs(15)
    }

    pub(super) fn concurrency() -> usize {
        8
    }

    pub(super) fn circuit_failures() -> u32 {
        10
    }

    pub(super) fn circuit_pause() -> Backoff {
        Backoff::new(Duration::from_secs(5), Duration::from_secs(600))
    }

    pub(super) fn retry_after_max() -> Duration {
        HOUR
    }

    pub(super) fn tolerance() -> Duration {
        super::TOLERANCE
    }
}

impl WebhookConfig {
    /// The files that it names.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let endpoints = self.endpoints.iter_mut().map(|it| &mut it.secrets);
        let senders = self.senders.iter_mut().map(|it| &mut it.secrets);
        let secrets = endpoints.chain(senders).filter_map(|source| match source {
            SecretSource::File(path) => Some(path),
            SecretSource::Env(_) => None,
        });
        self.ca_file.iter_mut().chain(secrets)
    }

    /// Says which endpoint or sender cannot be, and why.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        check_names(self.endpoints.iter().map(|it| it.name.as_str()))?;
        check_names(self.senders.iter().map(|it| it.name.as_str()))?;
        for endpoint in &self.endpoints {
            let checked = endpoint
                .check()
                .and_then(|()| endpoint.url.check_reach(&self.allow));
            checked.map_err(|problem| (endpoint.name.clone(), problem))?;
        }
        for sender in &self.senders {
            let checked = sender.check();
            checked.map_err(|problem| (sender.name.clone(), problem))?;
        }
        Ok(())
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), (String, String)> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        let is_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let problem = if name.is_empty() || name.len() > NAME_BYTES_MAX {
            format!("a name has 1 to {NAME_BYTES_MAX} bytes")
        } else if !name.bytes().all(is_byte) {
            "a name has letters, digits, `-` and `_` only".to_owned()
        } else if name == "in" {
            "this name is taken by the paths of senders; choose another".to_owned()
        } else if !seen.insert(name) {
            "there are two of this name; give each its own".to_owned()
        } else if seen.len() > ENDPOINTS_MAX {
            format!("it is one too many; the limit is {ENDPOINTS_MAX}")
        } else {
            continue;
        };
        return Err((name.chars().take(NAME_BYTES_MAX).collect(), problem));
    }
    Ok(())
}

impl EndpointConfig {
    /// An endpoint with the defaults for what is not given.
    pub fn new(
        name: impl Into<String>,
        url: impl Into<ReceiverUrl>,
        topics: Vec<TopicPattern>,
        secrets: SecretSource,
    ) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            topics,
            types: Vec::new(),
            filter: None,
            secrets,
            content: ContentMode::default(),
            personal: false,
            start: StartAt::default(),
            attempts: defaults::attempts(),
            backoff: defaults::backoff(),
            timeout: defaults::timeout(),
            concurrency: defaults::concurrency(),
            rate: None,
            circuit_failures: defaults::circuit_failures(),
            circuit_pause: defaults::circuit_pause(),
            retry_after_max: defaults::retry_after_max(),
            on_dead: AfterDead::default(),
        }
    }

    /// The group of the endpoint.
    pub(super) fn group(&self) -> String {
        format!("{GROUP_PREFIX}{}", self.name)
    }

    /// What passes, if not everything does.
    pub(super) fn expression(&self) -> Result<Option<Expression>, String> {
        let parsed = self.filter.as_deref().map(Expression::parse).transpose();
        parsed.map_err(|error| format!("`filter` is not an expression of CloudEvents SQL: {error}"))
    }

    fn check(&self) -> Result<(), String> {
        self.url.uri()?;
        self.expression()?;
        within("topics", self.topics.len(), 1, TOPICS_MAX)?;
        within("types", self.types.len(), 0, TOPICS_MAX)?;
        for (index, one) in self.topics.iter().enumerate() {
            let mut others = self.topics.iter().skip(index + 1);
            if let Some(other) = others.find(|other| other.overlaps(one)) {
                return Err(format!(
                    "`topics`: `{one}` and `{other}` have topics in common; keep one"
                ));
            }
        }
        within("attempts", self.attempts, 1, ensue::ATTEMPTS_MAX)?;
        within("concurrency", self.concurrency, 1, CONCURRENCY_MAX)?;
        within("circuit_failures", self.circuit_failures, 1, 1_000_000)?;
        if let Some(rate) = self.rate {
            within("rate", rate, 1, RATE_MAX)?;
        }
        within_times("timeout", self.timeout, Duration::from_millis(100), HOUR)?;
        within_times("retry_after_max", self.retry_after_max, Duration::ZERO, DAY)?;
        for (name, range) in [
            ("backoff", self.backoff),
            ("circuit_pause", self.circuit_pause),
        ] {
            within_times(name, range.min, Duration::from_millis(1), DAY)?;
            within_times(name, range.max, range.min, DAY)?;
        }
        Ok(())
    }
}

impl SenderConfig {
    /// The source of its events, unless they bring their own.
    pub(super) fn source(&self) -> String {
        let of_name = || format!("/webhooks/{}", self.name);
        self.source.clone().unwrap_or_else(of_name)
    }

    fn check(&self) -> Result<(), String> {
        ensue_core::topic::validate(&self.topic).map_err(|error| error.to_string())?;
        if ensue_core::topic::is_reserved(&self.topic) {
            return Err("`topic` begins with `_`: such topics belong to Ensue itself".to_owned());
        }
        self.check_content()?;
        let source = ensue_core::event::check_source(&self.source());
        source.map_err(|error| error.to_string())?;
        if self.key.as_ref().is_some_and(|key| !key.starts_with('/')) {
            return Err(
                "`key` is not a JSON Pointer; expected one such as `/data/order_id`".to_owned(),
            );
        }
        within("origins", self.origins.len(), 0, TOPICS_MAX)?;
        within_times("tolerance", self.tolerance, Duration::from_secs(1), DAY)?;
        if let Some(rate) = self.rate_per_minute {
            within("rate_per_minute", rate, 1, RATE_MAX)?;
        }
        Ok(())
    }

    /// What CloudEvents bring is not said, and all else is.
    fn check_content(&self) -> Result<(), String> {
        match (self.content, &self.event_type) {
            (SenderContent::Payload, None) => {
                Err("`type` is missing: the type that its events have".to_owned())
            }
            (SenderContent::CloudEvents, Some(_)) => {
                Err("`type` is not for CloudEvents, which bring their own; remove it".to_owned())
            }
            (SenderContent::CloudEvents, None) if self.key.is_some() => {
                Err("`key` is not for CloudEvents, whose key is the subject; remove it".to_owned())
            }
            (SenderContent::CloudEvents, None) => Ok(()),
            (SenderContent::Payload, Some(name)) => {
                let named = ensue_core::event::check_name("type", name);
                named.map_err(|error| error.to_string())
            }
        }
    }
}

/// Two durations as people write them: `1s..1h`.
mod range {
    use serde::de::Error as _;

    use super::{Backoff, Deserialize, Deserializer, Serializer, duration};

    pub(super) fn serialize<S: Serializer>(range: &Backoff, to: S) -> Result<S::Ok, S::Error> {
        let (min, max) = (duration::written(range.min), duration::written(range.max));
        to.serialize_str(&format!("{min}..{max}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Backoff, D::Error> {
        let text = String::deserialize(from)?;
        let (min, max) = text.split_once("..").unwrap_or((&text, &text));
        let parse = |text: &str| ensue::parse_duration(text).map_err(D::Error::custom);
        Ok(Backoff::new(parse(min)?, parse(max)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = r#"
        [[endpoint]]
        name = "shop"
        url = "https://shop.example/hooks"
        topics = ["orders"]
        secrets = { env = "SHOP" }
    "#;
    const SENDER: &str = r#"
        [[in]]
        name = "bank"
        topic = "payments"
        type = "payment.notified"
        secrets = { file = "/run/secrets/bank" }
    "#;

    fn check(text: &str) -> Result<WebhookConfig, String> {
        let config: WebhookConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        let checked = config.check();
        checked.map_err(|(name, problem)| format!("{name}: {problem}"))?;
        Ok(config)
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let config = check(&format!("{ENDPOINT}{SENDER}")).unwrap();
        let expected = EndpointConfig::new(
            "shop",
            "https://shop.example/hooks",
            vec!["orders".parse().unwrap()],
            SecretSource::Env("SHOP".into()),
        );
        assert_eq!(config.endpoints, [expected]);
        assert_eq!(config.endpoints[0].group(), "webhook.shop");
        assert_eq!(config.senders[0].source(), "/webhooks/bank");
        assert_eq!(config.senders[0].tolerance, Duration::from_secs(300));
    }

    #[test]
    fn everything_that_can_be_said_is_read() {
        let more = r#"
            types = ["order.paid"]
            filter = "subject LIKE 'o-%'"
            content = "binary"
            start = "earliest"
            attempts = 3
            backoff = "10ms..1s"
            timeout = "2s"
            concurrency = 1
            rate = 50
            circuit_failures = 2
            circuit_pause = "1s..2s"
            retry_after_max = "1m"
            on_dead = "skip"
        "#;
        let config = check(&format!("allow = [\"127.0.0.0/8\"]\n{ENDPOINT}{more}")).unwrap();
        let endpoint = &config.endpoints[0];
        assert_eq!(endpoint.backoff.max, Duration::from_secs(1));
        assert_eq!(
            (endpoint.content, endpoint.rate),
            (ContentMode::Binary, Some(50))
        );
        let written = serde_json::to_value(&config).unwrap();
        let mut read: WebhookConfig = serde_json::from_value(written).unwrap();
        // All but the path of the URL, which may be a secret.
        let url = std::mem::replace(&mut read.endpoints[0].url, config.endpoints[0].url.clone());
        assert_eq!(url.reveal(), url.to_string());
        assert_eq!(read, config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (found, with, part) in [
            ("\"shop\"", "\"a shop\"", "letters, digits"),
            ("\"shop\"", "\"in\"", "taken by the paths"),
            ("\"shop\"", "\"\"", "1 to 64 bytes"),
            ("https://", "ftp://", "expected `https://host/path`"),
            (
                "https://shop.example",
                "/hooks",
                "expected `https://host/path`",
            ),
            ("https://", "https://me:secret@", "a user or a password"),
            ("[\"orders\"]", "[]", "`topics` is or has 0"),
            ("[\"orders\"]", "[\"orders\", \"*\"]", "topics in common"),
            ("[\"orders\"]", "[\"no topic\"]", "not a topic"),
            ("{ env = ", "{ text = ", "unknown variant `text`"),
            ("topics", "attempts = 0\ntopics", "`attempts` is or has 0"),
            ("topics", "concurrency = 999\ntopics", "between 1 and 256"),
            (
                "topics",
                "backoff = \"2s..1s\"\ntopics",
                "`backoff` is or has 1s",
            ),
            ("topics", "filter = \"(\"\ntopics", "CloudEvents SQL"),
            (
                "topics",
                "timout = \"1s\"\ntopics",
                "unknown field `timout`",
            ),
        ] {
            let error = check(&ENDPOINT.replace(found, with)).unwrap_err();
            assert!(error.contains(part), "{with}: {error}");
        }
        for (found, with, part) in [
            ("\"payments\"", "\"_payments\"", "belong to Ensue"),
            ("\"payment.notified\"", "\"\"", "type"),
            ("type", "source = \"no source\"\ntype", "not a URI"),
            ("type", "key = \"data\"\ntype", "JSON Pointer"),
            ("type = \"payment.notified\"", "", "`type` is missing"),
            ("type", "content = \"cloudevents\"\ntype", "bring their own"),
            (
                "type = \"payment.notified\"",
                "content = \"cloudevents\"\nkey = \"/a\"",
                "the subject",
            ),
            ("type", "tolerance = \"0s\"\ntype", "`tolerance`"),
        ] {
            let error = check(&SENDER.replace(found, with)).unwrap_err();
            assert!(error.contains(part), "{with}: {error}");
        }
        let twice = check(&format!("{ENDPOINT}{ENDPOINT}")).unwrap_err();
        assert!(twice.contains("two of this name"), "{twice}");
    }
}
