//! When services have nothing left to do.

use std::time::{Duration, Instant};

use crate::engine::{Cursor, EngineStatus, GroupStatus, SharedEngine};
use crate::error::Result;

/// The shortest and the longest wait between two looks: each takes time from the services.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// How often to say what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Waits until none of the services has anything left to do.
///
/// The groups are not all looked at in the same instant, and members hold events that the log does
/// not tell of: two looks in a row have to find all of them idle, with nothing appended in between.
pub(crate) async fn settled(engine: &SharedEngine, services: &[&str]) -> Result<()> {
    let (mut pause, longest) = LOOKS;
    let mut said = Instant::now();
    let mut idle_at: Option<Cursor> = None;
    loop {
        let status = engine.status().await?;
        let busy = services.iter().find_map(|name| waits_for(&status, name));
        match busy {
            None if idle_at.as_ref() == Some(&status.end) => return Ok(()),
            None => idle_at = Some(status.end),
            Some(reason) => {
                idle_at = None;
                if said.elapsed() >= SAY_EVERY {
                    said = Instant::now();
                    tracing::info!(reason, "waiting until everything is handled");
                }
                tokio::time::sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        }
    }
}

/// What a service has left to do; `None` when that is nothing.
fn waits_for(status: &EngineStatus, service: &str) -> Option<String> {
    let Some(group) = status.group(service) else {
        return Some(format!("`{service}` has not joined yet"));
    };
    if group.is_idle() {
        return None;
    }
    let GroupStatus {
        lag,
        in_flight,
        retrying,
        ..
    } = group;
    let mut text = format!(
        "`{service}` has a lag of {lag}, {in_flight} events in flight and {retrying} that wait for \
         another attempt"
    );
    if let Some(due) = group.next_due.filter(|_| *retrying > 0) {
        text.push_str(&format!(", the next at {due}"));
    }
    let trouble = [&group.paused, &group.trouble, &group.refused];
    for trouble in trouble.into_iter().flatten() {
        text.push_str(&format!("; {trouble}"));
    }
    Some(text)
}
