//! What the engine refused: whether to ask again, and how long to wait before.

use std::time::Duration;

use super::Dispatch;
use crate::error::{Error, Outlook, Result};
use crate::time::{Backoff, WaitsFor};

/// How long to wait before something is asked of the engine again that it refused.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// Waits between attempts at something that the engine refused, and gives up on what is final.
#[derive(Default)]
pub(super) struct Refused(u32);

impl Refused {
    /// Waits, if waiting helps; meanwhile the group's metrics say so.
    ///
    /// # Errors
    /// The error, when asking again cannot help.
    pub(super) async fn wait(
        &mut self,
        error: Error,
        what: &'static str,
        dispatch: &Dispatch,
    ) -> Result<()> {
        if error.outlook() != Outlook::Passes {
            return Err(error);
        }
        self.0 += 1;
        // Without jitter: each group asks its own engine.
        let wait = BACKOFF.wait(self.0, 1.0);
        let group = &*dispatch.group;
        tracing::warn!(group, %error, ?wait, "cannot {what}, trying again");
        let clock = dispatch.engine.clock();
        dispatch.counters.waits(what, &error, clock.now());
        let _rest = clock
            .resting()
            .map(|resting| resting.rest(WaitsFor::Refused, 1));
        clock.sleep(wait).await;
        Ok(())
    }
}
