//! Commands: has a device do something, and replies with its answer.

use std::sync::Arc;
use std::time::Duration;

use ensue::engine::{Cursor, Query};
use ensue::error::EngineError;
use ensue::prelude::*;

use crate::events::{CalibrateDevice, DEVICES, DeviceAnswered};
use crate::mqtt::{Command, Line, Says};

/// How long a device may take to answer until it is told again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// `device.calibrate` → the device, over MQTT, whose `device.answered` is the reply.
///
/// The id of the request names the command: a device that hears it twice does it once. The answer comes the way
/// all comes that devices say, through the log; so an answer that came while this process was not there is found.
pub(super) struct Commands {
    line: Arc<Line>,
}

impl Commands {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line }
    }
}

#[service]
impl Commands {
    #[on(
        attempts = 10,
        backoff = "100ms..5s",
        timeout = "30s",
        on_dead = "skip"
    )]
    async fn calibrate(
        &self,
        request: CalibrateDevice,
        ctx: &Context,
    ) -> Result<Reply<DeviceAnswered>, Failure> {
        let command = Command {
            command: ctx.id().to_owned(),
        };
        self.line
            .tell(&request.device, Says::Command, &command)
            .await?;
        let answered = answer(ctx, &request.device, &command.command);
        match tokio::time::timeout(ANSWERED_WITHIN, answered).await {
            Ok(answered) => Ok(Reply(answered?)),
            Err(_) => Err("the device has not answered".into()),
        }
    }
}

/// The answer to a command, which stands behind it in the log.
async fn answer(ctx: &Context, device: &str, command: &str) -> ensue::Result<DeviceAnswered> {
    let query = Query {
        topics: Some(DEVICES.parse()?),
        key: Some(device.to_owned()),
        types: vec![DeviceAnswered::TYPE.to_owned()],
        from: Cursor::from(ctx.position()),
        ..Query::default()
    };
    let engine = Engine::from(ctx.publisher().engine().clone());
    let mut events = engine.read(query).follow();
    loop {
        let event = events.next().await.ok_or(EngineError::Closed)??;
        let answered: DeviceAnswered = event.envelope.decode()?;
        if answered.command == command {
            return Ok(answered);
        }
    }
}
