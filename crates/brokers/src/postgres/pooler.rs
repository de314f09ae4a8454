//! Whether something between us and the server gives its connections to several clients in turn.
//!
//! Prepared statements, a session's settings and notifications belong to a connection of the
//! server. A pooler such as PgBouncer with `pool_mode = transaction` may give us another one for
//! every statement, and ours to others: statements are missing or are another client's, and no client is
//! told what was appended.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::Place;
use super::failure::{failure, pooled};
use super::session::Session;
use crate::error::Result;
use crate::shared_log::{Address, Server};

/// What is set in one session and looked for in another: the server takes any name with a dot.
const SETTING: &str = "ensue.session";

/// Refuses a connection whose sessions are shared.
///
/// # Errors
/// [`OpenError::Unfit`](crate::error::OpenError::Unfit).
pub(super) async fn refuse(place: &Place, address: &Address, ours: &Session) -> Result<()> {
    let server = &place.server;
    let seen = ask(&ours.client, server, "SELECT inet_client_port()").await?;
    // A program between us has a port of its own, or none.
    if seen.and_then(|port| port.parse().ok()) == Some(ours.port) {
        return Ok(());
    }
    let mark = format!("{:016x}", fastrand::u64(..));
    let set = format!("SELECT set_config('{SETTING}', '{mark}', false)");
    ask(&ours.client, server, &set).await?;
    // While one is in a transaction, a pooler has to give us another connection of the server.
    let other = Session::open(place, address).await?;
    ask(&other.client, server, "BEGIN").await?;
    let look = format!("SELECT current_setting('{SETTING}', true)");
    let theirs = ask(&other.client, server, &look).await?;
    if theirs.as_deref() == Some(&mark) {
        return Err(pooled(server));
    }
    let still = ask(&ours.client, server, &look).await?;
    if still.as_deref() == Some(&mark) {
        Ok(())
    } else {
        Err(pooled(server))
    }
}

/// The first column of the answer to a statement, without preparing it.
async fn ask(client: &Client, server: &Server, statement: &str) -> Result<Option<String>> {
    let answer = client.simple_query(statement).await;
    let answer = answer.map_err(|error| failure(server, &error))?;
    let value = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    Ok(value.flatten())
}
