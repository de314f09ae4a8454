//! Webhooks. Out: an endpoint is a consumer group that sends events to a receiver, so order of each
//! key, attempts, parking, dead letters, replay and reset are those of every group. In: a sender's
//! requests, verified, become events. Both are signed as Standard Webhooks are.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod keyring;
mod rate;
mod secret;
mod settings;
mod url;

mod answer;
mod client;
mod content;
mod gate;
mod responses;
mod signature;
mod switch;

mod endpoint;
mod sender;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use ensue::{Engine, Metrics, Timestamp};
use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

pub(crate) use self::endpoint::Endpoint;
pub use self::keyring::SecretSource;
pub(crate) use self::responses::Response;
pub(crate) use self::sender::{Refusal, Sender};
pub use self::settings::{
    AfterDead, ContentMode, EndpointConfig, SenderConfig, SenderContent, StartAt, WebhookConfig,
};
use self::settings::{GROUP_PREFIX, TOLERANCE};
pub(crate) use self::signature::{Claim, Unverified};
use self::switch::Switches;
pub use self::url::ReceiverUrl;
use crate::outgoing::{Connector, Reachable};
use crate::personal::{Masks, Personal};
use crate::problem::{Code, Problem};
use crate::trace::Tracing;

/// How often the log is asked which endpoints are disabled: another process may have done that.
const SWITCHES_INTERVAL: Duration = Duration::from_secs(5);

/// Why webhooks cannot be started.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The endpoint or sender of this name cannot be as it is configured.
    Webhook {
        name: String,
        problem: String,
    },
    Engine(ensue::Error),
}

impl From<ensue::Error> for StartError {
    fn from(error: ensue::Error) -> Self {
        Self::Engine(error)
    }
}

/// Says which endpoint or sender cannot be started, and why: of secrets and authorities, which the settings
/// name.
pub(crate) fn check(config: &WebhookConfig) -> Result<(), (String, String)> {
    let of = |name: &str| {
        let name = name.to_owned();
        move |problem| (name, problem)
    };
    for sender in &config.senders {
        Sender::new(sender.clone()).map_err(of(&sender.name))?;
    }
    for endpoint in &config.endpoints {
        Endpoint::keyring(endpoint).map_err(of(&endpoint.name))?;
    }
    if !config.endpoints.is_empty() {
        connector(config).map_err(of("ca_file"))?;
    }
    Ok(())
}

/// What deliveries go through.
fn connector(config: &WebhookConfig) -> Result<Connector, String> {
    let reachable = Reachable::Public(config.allow.clone());
    Connector::new(reachable, config.ca_file.as_deref())
}

/// The endpoints and senders of a server, at work.
pub(crate) struct Webhooks {
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    senders: BTreeMap<String, Sender>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Webhooks {
    /// Starts all of them, or none.
    pub(crate) async fn start(
        engine: &Engine,
        (config, personal): (&WebhookConfig, &[Personal]),
        (metrics, tracing): (&Metrics, &Tracing),
    ) -> Result<Self, StartError> {
        let mut endpoints = BTreeMap::new();
        let mut senders = BTreeMap::new();
        for sender in &config.senders {
            let made = Sender::new(sender.clone()).map_err(|problem| of(&sender.name, problem))?;
            senders.insert(sender.name.clone(), made);
        }
        if !config.endpoints.is_empty() {
            let connector = connector(config).map_err(|problem| of("ca_file", problem))?;
            let masks = Arc::new(Masks::new(personal));
            for endpoint in &config.endpoints {
                let (config, connector) = (endpoint.clone(), connector.clone());
                let made = Endpoint::new(config, connector, &masks, engine, tracing);
                let made = made.map_err(|problem| of(&endpoint.name, problem))?;
                endpoints.insert(endpoint.name.clone(), Arc::new(made));
            }
        }
        let webhooks = Self {
            endpoints,
            senders,
            stop: watch::Sender::new(false),
            tasks: Mutex::new(JoinSet::new()),
        };
        webhooks.run(engine, metrics).await?;
        Ok(webhooks)
    }

    async fn run(&self, engine: &Engine, metrics: &Metrics) -> Result<(), StartError> {
        if self.endpoints.is_empty() {
            return Ok(());
        }
        let mut tasks = self.tasks.lock().await;
        let switches = Switches::new(engine.clone());
        let remembering = switches.app(metrics.clone())?.start().await?;
        let mut stop = self.stop.subscribe();
        tasks.spawn(async move {
            told(&mut stop).await;
            if let Err(error) = remembering.stop().await {
                tracing::warn!(%error, "what remembers disabled endpoints ended early");
            }
        });
        apply(&switches, &self.endpoints).await;
        for endpoint in self.endpoints.values() {
            let running = endpoint.app(metrics.clone()).start().await?;
            let stop = self.stop.subscribe();
            tasks.spawn(supervise(endpoint.clone(), running, stop));
        }
        let (endpoints, mut stop) = (self.endpoints.clone(), self.stop.subscribe());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = told(&mut stop) => return,
                    () = tokio::time::sleep(SWITCHES_INTERVAL) => apply(&switches, &endpoints).await,
                }
            }
        });
        Ok(())
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    pub(crate) fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(name)
    }

    /// Refuses to let a client join the group of an endpoint of this server: it would take deliveries from
    /// the receiver.
    pub(crate) fn must_not_own(&self, group: &str) -> Result<(), Problem> {
        let endpoint = group.strip_prefix(GROUP_PREFIX);
        match endpoint.and_then(|name| self.endpoints.get(name)) {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                Code::Refused,
                format!(
                    "the group `{group}` is that of a webhook of this server, which alone delivers its events; \
                     join one of another name"
                ),
            )),
        }
    }

    pub(crate) fn senders(&self) -> impl Iterator<Item = &Sender> {
        self.senders.values()
    }

    /// What a request claims, before its body is read: most of those that are not a sender's end here. Their
    /// time counts by the largest tolerance there is, as strangers would tell by it which senders there are.
    pub(crate) fn claim(&self, now: Timestamp, headers: &HeaderMap) -> Result<Claim, Unverified> {
        let tolerances = self.senders.values().map(|it| it.config().tolerance);
        Claim::of(headers, now, tolerances.max().unwrap_or(TOLERANCE))
    }

    pub(crate) fn sender(&self, name: &str) -> Option<&Sender> {
        self.senders.get(name)
    }

    /// Lets no delivery begin any more, waits up to `drain_timeout` for those on their way, and leaves
    /// the groups.
    pub(crate) async fn stop(&self, drain_timeout: Duration) {
        let draining = join_all(self.endpoints.values().map(|endpoint| endpoint.drain()));
        if tokio::time::timeout(drain_timeout, draining).await.is_err() {
            tracing::warn!("deliveries under way were let go of: they are made again");
        }
        self.stop.send_replace(true);
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

fn of(name: &str, problem: String) -> StartError {
    StartError::Webhook {
        name: name.to_owned(),
        problem,
    }
}

/// Completes when all of them are to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // The sender is gone when the server is.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Runs an endpoint until it is told to stop.
async fn supervise(
    endpoint: Arc<Endpoint>,
    mut running: ensue::Running,
    mut stop: watch::Receiver<bool>,
) {
    let failed = tokio::select! {
        failed = running.failed() => Some(failed),
        () = told(&mut stop) => None,
    };
    if let Some(error) = failed {
        endpoint.failed(&error);
    }
    if let Err(error) = running.stop().await {
        tracing::warn!(group = endpoint.group(), %error, "the endpoint ended early");
    }
}

/// Takes over what the log says of the endpoints.
async fn apply(switches: &Switches, endpoints: &BTreeMap<String, Arc<Endpoint>>) {
    match switches.all().await {
        Ok(all) => {
            for (name, switch) in all {
                if let Some(endpoint) = endpoints.get(&name) {
                    endpoint.apply(switch);
                }
            }
        }
        Err(error) => tracing::warn!(%error, "cannot see which endpoints are disabled"),
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks")
            .field("endpoints", &self.endpoints.keys())
            .field("senders", &self.senders.keys())
            .finish_non_exhaustive()
    }
}
