//! Sending what this process submits to the shared log.

use super::link::Link;
use super::node::WeakNode;
use super::outbox::Parcel;
use super::retry::Retry;
use crate::error::{EngineError, Error, Result};
use crate::ids::{FrameNumber, WriterId};

/// Sends until the engine ends; holds it only to stop it.
pub(super) async fn run(node: WeakNode) {
    let mut retry = Retry::default();
    let work = node.link.outbox().work();
    // Whether what was sent and not read back has to be sent again.
    let mut again = false;
    while node.is_alive() {
        let (writer, parcel) = match pack(&node.link, again) {
            Ok(Some(packed)) => packed,
            Ok(None) => return,
            Err(error) => return node.stop_for(&error),
        };
        if parcel.messages.is_empty() {
            again = false;
            let _ = tokio::time::timeout(node.link.lease() / 4, work.notified()).await;
            continue;
        }
        let until = parcel.until;
        let sent = node.link.shared_log().append(parcel.messages).await;
        match sent {
            Ok(()) => {
                was_acknowledged(&node.link, writer, until);
                again = false;
                retry = Retry::default();
            }
            Err(Error::Engine(EngineError::Unavailable { reason, .. })) => {
                tracing::warn!(reason, "cannot write to the shared log, retrying");
                again = true;
                retry.wait().await;
            }
            Err(error @ Error::Engine(EngineError::DiskFull(_))) => {
                tracing::warn!(%error, "the server has no room, retrying");
                again = true;
                retry.wait().await;
            }
            Err(error) => return node.stop_for(&error),
        }
    }
}

/// What to send now, and under which name; `None` when nothing goes out any more.
fn pack(link: &Link, again: bool) -> Result<Option<(WriterId, Parcel)>> {
    let stamp = link.heard().stamp(link.clock().now().as_micros());
    let mut outbox = link.outbox().lock();
    if outbox.is_halted() {
        return Ok(None);
    }
    let mut parcel = outbox.pack(again, stamp)?;
    let is_asked = outbox.take_asked();
    if parcel.messages.is_empty()
        && (is_asked || outbox.needs_acknowledgement() || link.heard().has_to_beat())
    {
        parcel = outbox.beat(stamp);
    }
    Ok(Some((outbox.writer(), parcel)))
}

fn was_acknowledged(link: &Link, writer: WriterId, until: FrameNumber) {
    let mut outbox = link.outbox().lock();
    if outbox.writer() == writer {
        outbox.acknowledged(until);
    }
    drop(outbox);
    link.heard().wrote();
}
