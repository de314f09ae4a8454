//! Answers: tells devices how far their readings are stored.

use std::sync::Arc;

use ensue::prelude::*;

use crate::events::DeviceTold;
use crate::mqtt::{Line, Says, Stored};

/// `device.told` → the device, over MQTT. It may hear it twice; what it does not hear it asks again.
pub(super) struct Answers {
    line: Arc<Line>,
}

impl Answers {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line }
    }
}

#[service]
impl Answers {
    #[on(attempts = 3, backoff = "100ms..5s", timeout = "30s", on_dead = "skip")]
    async fn tell(&self, told: DeviceTold) -> Result<(), Failure> {
        let stored = Stored {
            ask: told.ask,
            sent: told.sent,
            stored: told.stored,
        };
        self.line.tell(&told.device, Says::Stored, &stored).await?;
        Ok(())
    }
}
