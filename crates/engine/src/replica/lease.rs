//! Processes that are silent for their lease are fenced.
//!
//! Silence is measured by this process's own clock, from when it read a message, and only while it
//! reads without a pause: a process that was stopped itself, or cut off from the server, knows nothing
//! of the others. That a process is gone is a record like any other, and counts only if its frames
//! have not gone on before that record. The oldest process speaks first, the others later, so that
//! they do not all say the same.

use std::time::{Duration, Instant};

use super::clocks::server_ahead;
use super::link::Link;
use super::node::{Node, WeakNode};
use crate::log_error;
use crate::model::change::Change;
use crate::runtime::engine_inner::batch_of;
use crate::runtime::pending_changes::Terms;

/// How often the server is asked for the time, unless this process's clock was set.
const SERVER_TIME_WAIT: Duration = Duration::from_secs(60);

/// Looks for silent processes until the engine ends; holds it only while it looks.
pub(super) async fn run(node: WeakNode) {
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep(node.link.lease() / 4).await;
        let Some(here) = node.upgrade() else {
            return;
        };
        expire_silent_processes(&here);
        drop(here);
        let was_set = node.link.heard().clocks().take_was_set();
        if was_set || asked.elapsed() >= SERVER_TIME_WAIT {
            asked = Instant::now();
            ask_for_time(&node.link).await;
        }
    }
}

/// Asks what the server's clock shows.
async fn ask_for_time(link: &Link) {
    if let Some(ahead) = server_ahead(&**link.shared_log(), link.clock()).await {
        link.heard().clocks().hear_server(ahead);
    }
}

/// Records which processes are gone, unless this one is itself.
fn expire_silent_processes(node: &Node) {
    let mut locked = node.engine.locked();
    let own = locked.boot();
    if !locked.state().processes().is_alive(own) {
        return;
    }
    let expired = node.link.heard().expired(locked.state().processes(), own);
    for gone in expired {
        tracing::warn!(process = %gone.boot, "no message for its lease: the process is fenced");
        let changes = vec![Change::Gone(gone)];
        let engine = &node.engine;
        let submitted = batch_of(&changes).and_then(|batch| {
            let submitted = engine.submit_locked(&mut locked, batch, changes, Terms::default());
            submitted.map_err(log_error::of_submit)
        });
        // Whether it came to anything is seen when it is read back; until then it is tried again.
        if let Err(error) = submitted {
            tracing::warn!(%error, "could not record that a process is fenced, retrying");
        }
    }
}
