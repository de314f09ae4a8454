//! Processes that are silent for their lease are taken for dead.
//!
//! Silence is measured by this process's own clock, from when it read a message, and only while it
//! reads without a pause: whoever was stopped itself, or cut off from the server, knows nothing of
//! the others. That a process is gone is a record like any other, and counts only if its frames
//! have not gone on before that record. The oldest process speaks first, the others later, so that
//! they do not all say the same.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ensue_log as log;

use super::{Replica, server_ahead};
use crate::model::change::Change;
use crate::model::record::Gone;
use crate::runtime::engine_inner::Shared;
use crate::runtime::locked_state::Terms;

/// How often the server is asked for the time, unless this process's clock was set.
const SERVER_TIME_WAIT: Duration = Duration::from_secs(60);

/// Starts the task that looks for the dead; it holds the engine only while it works.
pub(super) fn start(shared: &Arc<Shared>) {
    shared.keep_task(tokio::spawn(run(Arc::downgrade(shared))));
}

async fn run(shared: Weak<Shared>) {
    let mut asked = Instant::now();
    loop {
        let Some(wait) = shared.upgrade().and_then(|shared| {
            let replica = shared.replica.as_ref()?;
            Some(replica.lease / 4)
        }) else {
            return;
        };
        tokio::time::sleep(wait).await;
        let Some(engine) = shared.upgrade() else {
            return;
        };
        engine.bury_the_dead();
        let was_set = engine.was_clock_set();
        if was_set || asked.elapsed() >= SERVER_TIME_WAIT {
            asked = Instant::now();
            engine.ask_the_server().await;
        }
    }
}

impl Shared {
    fn was_clock_set(&self) -> bool {
        let replica = self.replica();
        replica.is_ok_and(|replica| replica.heard().clocks.take_was_set())
    }

    /// Asks what the server's clock shows.
    async fn ask_the_server(&self) {
        if let Ok(replica) = self.replica()
            && let Some(ahead) = server_ahead(&*replica.shared_log, &replica.clock).await
        {
            replica.heard().clocks.hear_server(ahead);
        }
    }

    fn bury_the_dead(&self) {
        let Ok(replica) = self.replica() else {
            return;
        };
        let mut core = self.core();
        if !core.state.processes.is_alive(core.boot) {
            return;
        }
        for gone in dead(&core, replica) {
            tracing::warn!(process = %gone.boot, "it is silent and taken for dead");
            let change = Change::Gone(gone);
            let mut batch = log::Batch::new();
            if change.push_to(&mut batch).is_ok() {
                // Whether it came to anything is seen when it is read back.
                let _ = core.submit(&self.log, batch, vec![change], Terms::default());
            }
        }
    }
}

fn dead(core: &crate::runtime::locked_state::Core, replica: &Replica) -> Vec<Gone> {
    let now = Instant::now();
    let mut heard = replica.heard();
    let processes = &core.state.processes;
    heard
        .writers
        .retain(|writer, _| processes.iter().any(|(_, it)| it.writer == *writer));
    if heard.trouble.is_some() || now - heard.read > replica.lease / 2 {
        return Vec::new();
    }
    let mut gone = Vec::new();
    // How many others would speak first.
    let mut elders = 0;
    for (boot, process) in processes.iter().filter(|(boot, _)| *boot != core.boot) {
        let last = heard.writers.get(&process.writer);
        let since = last.map_or(heard.current, |last| last.at.max(heard.current));
        let silent = now - since;
        // A process says itself how long it may be silent: it need not be told the same as this one.
        let lease = Duration::from_micros(process.lease_micros).max(replica.lease);
        if silent > lease + lease / 2 * elders.min(4) {
            let counter = Some(process.counter);
            gone.push(Gone { boot, counter });
        } else if boot < core.boot {
            elders += 1;
        }
    }
    gone
}
