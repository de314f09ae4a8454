//! Where a log ends.
//!
//! The count of messages that a server tells of a stream is an estimate. So its last chunk is read:
//! a log that was opened is never empty ([`first_message`](super::first_message)), so there is one, and after a
//! round trip that brought nothing more it was read to its end.

use tokio::time::Instant;

use super::delivery::{Delivered, From, Subscription};
use super::first_message::gone;
use super::link::Link;
use crate::error::Result;
use crate::shared_log::Server;

const PREFETCH: u16 = 64;

/// The offset after the newest message; 0 for an empty log.
pub(super) async fn end(link: &Link, server: &Server, queue: &str, until: Instant) -> Result<u64> {
    if !link.has_queue(server, queue, until).await? {
        return Err(gone(server));
    }
    let mut last = Subscription::start(link, server, queue, From::Last, PREFETCH, until).await?;
    let first = last.next_until(server, until).await?;
    // Those that began the log do not count.
    let mut before = first.offset;
    let mut newest = newest_of(None, &first);
    let mut is_more = true;
    while is_more {
        last.acknowledge(server, until).await?;
        last.round_trip(server, until).await?;
        is_more = false;
        while let Some(delivered) = last.next_here(server) {
            newest = newest_of(newest, &delivered?);
            is_more = true;
        }
    }
    while newest.is_none() && before > 0 {
        before = before.saturating_sub(1);
        newest = newest_of(None, &at(link, server, queue, before, until).await?);
    }
    Ok(newest.map_or(0, |offset| offset.saturating_add(1)))
}

fn newest_of(newest: Option<u64>, delivered: &Delivered) -> Option<u64> {
    match delivered.log_id {
        None => Some(delivered.offset),
        Some(_) => newest,
    }
}

/// The message at `offset`, or the oldest after it.
pub(super) async fn at(
    link: &Link,
    server: &Server,
    queue: &str,
    offset: u64,
    until: Instant,
) -> Result<Delivered> {
    let from = From::Offset(offset);
    let mut subscription = Subscription::start(link, server, queue, from, 1, until).await?;
    loop {
        let delivered = subscription.next_until(server, until).await?;
        if delivered.offset >= offset {
            return Ok(delivered);
        }
        subscription.acknowledge(server, until).await?;
    }
}
