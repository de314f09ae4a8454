//! Saying something to devices.

use std::time::Duration;

use rumqttc::{AsyncClient, ClientError, PublishNoticeError, PublishOptions};
use serde::Serialize;
use tokio::task::JoinHandle;

use super::{BrokerPlace, Says};

/// How long the broker may take to have a message.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before the broker is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How many messages wait for the connection.
const QUEUED_MAX: usize = 1_000;
/// How many messages the broker has not acknowledged yet.
const IN_FLIGHT_MAX: u16 = 100;

/// Why a device was not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The broker did not take it in time.
    #[error("the broker has not taken the message within {} s", TAKEN_WITHIN.as_secs())]
    Late,
    /// The message was not sent.
    #[error("the message was not sent: {0}")]
    Client(#[from] ClientError),
    /// The message was sent, and not acknowledged.
    #[error("the broker has not acknowledged the message: {0}")]
    Notice(#[from] PublishNoticeError),
    /// It cannot be written.
    #[error(transparent)]
    Encode(#[from] serde_json::Error),
}

/// A connection to the broker over which devices are told something, as long as this is there.
#[derive(Debug)]
pub struct Line {
    client: AsyncClient,
    task: JoinHandle<()>,
}

impl Line {
    /// Connects, and again whenever the connection is lost.
    pub fn open(place: &BrokerPlace) -> Self {
        // Two of one name would throw each other out.
        let name = format!("ensue-sensors-line-{:016x}", fastrand::u64(..));
        let mut options = place.options(&name);
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
        let (client, mut events) = AsyncClient::builder(options).capacity(QUEUED_MAX).build();
        let task = tokio::spawn(async move {
            let mut is_warned = false;
            loop {
                match events.poll().await {
                    Ok(_) => is_warned = false,
                    Err(error) => {
                        if !std::mem::replace(&mut is_warned, true) {
                            tracing::warn!(%error, "no line to the devices, trying again");
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        });
        Self { client, task }
    }

    /// Tells a device something, once the broker has it (QoS 1).
    ///
    /// # Errors
    /// [`LineError`]: the device may have been told all the same.
    pub async fn tell(
        &self,
        device: &str,
        says: Says,
        what: &(impl Serialize + Sync),
    ) -> Result<(), LineError> {
        let payload = serde_json::to_vec(what)?;
        let told = async {
            let options = PublishOptions::at_least_once();
            let told = self
                .client
                .publish_tracked(says.topic(device), payload, options);
            told.await?.wait_completion_async().await?;
            Ok(())
        };
        let told = tokio::time::timeout(TAKEN_WITHIN, told).await;
        told.unwrap_or(Err(LineError::Late))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}
