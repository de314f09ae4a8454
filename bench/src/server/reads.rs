//! Reading a page of the log over HTTP, beside a handler that gives the same bytes from memory.

use std::net::SocketAddr;

use super::connection::{Connection, get};
use crate::Outcome;
use crate::load::Worker;

pub(super) const PAGE: &str = "/v1/events?topic=readings&limit=100";

pub(super) struct Reader {
    connection: Connection,
    request: Vec<u8>,
    /// As long as every answer has to be.
    bytes: usize,
}

impl Reader {
    pub(super) async fn connect(address: SocketAddr, path: &str, bytes: usize) -> Outcome<Self> {
        Ok(Self {
            connection: Connection::open(address).await?,
            request: get(path, "application/json"),
            bytes,
        })
    }
}

impl Worker for Reader {
    async fn step(&mut self) -> Outcome<usize> {
        let answer = self.connection.exchange(&self.request).await?;
        if answer.len() == self.bytes {
            Ok(1)
        } else {
            Err(format!("a page has {} bytes, not {}", answer.len(), self.bytes).into())
        }
    }
}

/// The page, as it is now.
pub(super) async fn page(address: SocketAddr) -> Outcome<Vec<u8>> {
    let mut connection = Connection::open(address).await?;
    let page = connection.exchange(&get(PAGE, "application/json")).await?;
    Ok(page.to_vec())
}
