//! Opening a replica: it is complete when this process has read all that was there.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use ensue_log as log;

use super::clocks::{Clocks, server_ahead};
use super::heard::Heard;
use super::link::Link;
use super::node::{Node, others};
use super::options::{Connector, SEGMENT_BYTES, lease_of};
use super::retry::patiently;
use super::{directory, fold, guard, lease, send};
use crate::background;
use crate::engine::{Driver as _, SharedEngine, Url};
use crate::error::Result;
use crate::pending_write::PendingWrite;
use crate::runtime::embedded::Embedded;
use crate::runtime::maintenance;
use crate::runtime::settings::Settings;
use crate::shared_log::Server;
use crate::time::Clock;

/// How long opening waits for an answer of the other processes.
const ANSWER_WAIT: Duration = Duration::from_millis(250);

/// Opens a replica of the shared log that `url` names; completes when it is up to date.
///
/// # Errors
/// [`OpenError::Url`](crate::error::OpenError::Url),
/// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable) when the server is away for
/// `connect_timeout`, [`OpenError::Unfit`](crate::error::OpenError::Unfit) when it cannot be used.
pub async fn open(url: Url, connector: Connector, clock: Clock) -> Result<SharedEngine> {
    background::run(async move {
        let node = open_node(url, connector, clock, |node| {
            maintenance::start(&node.engine)
        })
        .await?;
        let engine = Embedded::of(node.engine);
        if let Err(error) = engine.inner().check_whole() {
            engine.close().await?;
            return Err(error);
        }
        let engine: SharedEngine = Arc::new(engine);
        Ok(engine)
    })
    .await
}

/// [`open`] without the tasks of the engine that is on it: nothing happens there by itself.
pub(crate) async fn open_quietly(
    url: Url,
    connector: Connector,
    clock: Clock,
) -> Result<(Embedded, Arc<Link>)> {
    background::run(async move {
        let node = open_node(url, connector, clock, |_| {}).await?;
        Ok((Embedded::of(node.engine), node.link))
    })
    .await
}

async fn open_node(url: Url, connector: Connector, clock: Clock, start: fn(&Node)) -> Result<Node> {
    let server = Server::of(&url, connector.port)?;
    let correction = Arc::new(AtomicI64::new(0));
    let mut settings = Settings::of(&url, clock.corrected(correction.clone()))?;
    settings.durability = log::Durability::Os;
    if url.option("segment_bytes").is_none() {
        settings.segment_bytes = SEGMENT_BYTES;
    }
    let lease = lease_of(&url)?;
    let shared_log = patiently(&server, || (connector.dial)(url.clone())).await?;
    let mut clocks = Clocks::new(correction, lease);
    if let Some(ahead) = server_ahead(&*shared_log, &clock).await {
        clocks.hear_server(ahead);
        clocks.judge(&[], 0);
    }
    let heard = Heard::new(lease, clocks);
    let link = Link::new((server, shared_log), lease, clock, heard);
    let node = directory::open(&url, settings, link).await?;
    let time = node.engine.locked().state().processes().time();
    node.link.set_time(time);
    let opened = introduce(&node)?;
    start(&node);
    fold::start(&node);
    node.spawn(send::run);
    node.spawn(lease::run);
    node.spawn(guard::run);
    match opened.await {
        Ok(_) => {
            node.link.heard().is_up_to_date();
            hear_the_others(&node).await;
            Ok(node)
        }
        Err(error) => {
            node.engine.release();
            Err(error)
        }
    }
}

/// Says that this process works on the log, before anything else that it says.
fn introduce(node: &Node) -> Result<PendingWrite> {
    let mut locked = node.engine.locked();
    let (submitted, opened) = node.link.outbox().lock().introduce()?;
    locked.submitted_first(submitted.clone(), opened);
    Ok(submitted)
}

/// Waits until this process has heard what the others' clocks show, but not for long: one of
/// them may be dead.
async fn hear_the_others(node: &Node) {
    let sure = node.link.heard().clocks().sure.clone();
    let notified = sure.notified();
    let is_alone = others(&node.engine.locked()).0.is_empty();
    let is_sure = is_alone || node.link.heard().clocks().is_sure();
    if !is_sure {
        // Then the clocks are compared later.
        let _ = tokio::time::timeout(ANSWER_WAIT, notified).await;
    }
}
