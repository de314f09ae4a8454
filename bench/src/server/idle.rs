//! What streams cost on which nothing happens.

use std::net::SocketAddr;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::net::TcpStream;

use super::connection::{Connection, get};
use crate::Outcome;
use crate::log::memory::resident_mib;

/// Files that are open besides both ends of the streams.
const OTHER_FILES: u64 = 500;

/// Memory under idle streams: of the process that has both ends.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Idle {
    pub(super) streams: usize,
    pub(super) mib: f64,
}

/// As many streams as are wanted, or as this process may have.
pub(super) fn allowed(wanted: usize) -> usize {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    // What is refused leaves the limit as it was.
    let _ = setrlimit(Resource::Nofile, limits);
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wanted.min((most.saturating_sub(OTHER_FILES) / 2) as usize)
}

/// Opens so many streams, and says what memory they took.
pub(super) async fn measure(address: SocketAddr, streams: usize) -> Outcome<Idle> {
    let request = get("/v1/events/stream?topic=nothing", "text/event-stream");
    let before = resident_mib()?;
    let mut open: Vec<TcpStream> = Vec::with_capacity(streams);
    for _ in 0..streams {
        let connection = Connection::open(address).await?;
        open.push(connection.subscribe(&request).await?);
    }
    let mib = resident_mib()? - before;
    drop(open);
    Ok(Idle { streams, mib })
}
