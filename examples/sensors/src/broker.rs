//! An MQTT broker within the process, for those who have none: what it knows is gone with the process.

use std::net::SocketAddr;

use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use tokio::task::JoinHandle;

use crate::mqtt::BrokerPlace;

/// The most clients at a time.
const CLIENTS_MAX: usize = 100_000;
/// The largest packet.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// What waits for one client, at the most; beyond it the oldest message goes.
const QUEUED_MAX: usize = 100_000;
/// How many messages one client may leave unacknowledged.
const IN_FLIGHT_MAX: u16 = 1_000;

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
#[error(
    "the broker cannot listen at {address}: {reason}; --mqtt is a free address of this machine, or none"
)]
pub struct BrokerError {
    address: SocketAddr,
    reason: String,
}

/// A broker that listens as long as this is there.
pub struct Broker {
    place: BrokerPlace,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Broker {
    /// Listens at a loopback address; port 0 is any that is free.
    ///
    /// # Errors
    /// [`BrokerError`], also for an address that other machines reach: anybody could publish there.
    pub async fn listen(address: SocketAddr) -> Result<Self, BrokerError> {
        let failed = |reason: String| BrokerError { address, reason };
        if !address.ip().is_loopback() {
            return Err(failed("other machines reach that".to_owned()));
        }
        let storage = StorageConfig {
            backend: StorageBackend::Memory,
            max_queued_messages_per_client: QUEUED_MAX,
            ..StorageConfig::default()
        };
        let mut config = BrokerConfig::default()
            .with_bind_address(address)
            .with_max_clients(CLIENTS_MAX)
            .with_max_packet_size(PACKET_BYTES_MAX)
            .with_max_outbound_inflight(IN_FLIGHT_MAX)
            .with_sys_topics_enabled(false)
            .with_storage(storage);
        config.server_receive_maximum = Some(IN_FLIGHT_MAX);
        let mut broker = MqttBroker::with_config(config)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let bound = broker.local_addr();
        let bound = bound.ok_or_else(|| failed("it listens nowhere".to_owned()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the broker has ended");
            }
        });
        // It is closed when the broker has ended before: then no one gets a connection, which is said there.
        let _ = ready.wait_for(|is_ready| *is_ready).await;
        Ok(Self {
            place: BrokerPlace::at(bound),
            shutdown,
            task,
        })
    }

    /// Where it listens.
    pub fn place(&self) -> &BrokerPlace {
        &self.place
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.shutdown();
        self.task.abort();
    }
}
