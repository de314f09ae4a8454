//! Ingestion: takes what devices say over MQTT into the log.
//!
//! A message is acknowledged to the broker once it is in the log, and not before: what the broker has and the log
//! has not comes again.

use std::time::Duration;

use ensue::prelude::{Engine, Envelope, Event as _, Outgoing, Publisher};
use ensue::{Codec, EnvelopeBuilder};
use rumqttc::{
    AckMode, AsyncClient, BrokerSessionResumePolicy, Event, Incoming, Publish, QoS, SessionMode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::events::{DEVICES, DeviceAnswered, DeviceAsked, DeviceGone, ReadingMeasured};
use crate::mqtt::{BrokerPlace, Says};

/// The client's name: its session is the broker's memory of what was not taken.
const CLIENT: &str = "ensue-sensors-ingestion";
/// How many messages are taken into the log together, at the most.
const BATCH_MAX: usize = 1_000;
/// How long the broker keeps what is not taken, in seconds.
const SESSION: u32 = 7 * 24 * 3_600;
/// How long to wait before the broker is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// Who said it.
const SOURCE: &str = "/sensors/mqtt";

/// Takes messages into the log as long as this is there.
#[derive(Debug)]
pub struct Ingestion {
    task: JoinHandle<()>,
}

impl Ingestion {
    /// Connects, and again whenever the connection is lost.
    pub fn start(engine: &Engine, place: &BrokerPlace) -> Self {
        let publisher = engine.publisher(SOURCE);
        let place = place.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = take(&publisher, &place).await {
                    tracing::warn!(%error, "the ingestion has no broker, or no log, and tries again");
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        Self { task }
    }
}

impl Drop for Ingestion {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn take(publisher: &Publisher, place: &BrokerPlace) -> Result<(), Failed> {
    let mut options = place.options(CLIENT);
    options.set_session_mode(SessionMode::Persistent);
    options.set_session_expiry_interval(Some(SESSION));
    options.set_broker_session_resume_policy(BrokerSessionResumePolicy::AllowBrokerOnly);
    options.set_ack_mode(AckMode::Manual);
    options.set_receive_maximum(Some(BATCH_MAX as u16));
    options.set_outgoing_inflight_upper_limit(1);
    let (client, mut events) = AsyncClient::builder(options)
        .capacity(BATCH_MAX * 2)
        .build();
    let (heard, mut hearing) = mpsc::channel(BATCH_MAX);
    // It goes on while a batch is on its way into the log.
    let polling = async move {
        loop {
            let event = events.poll().await?;
            if heard.send(event).await.is_err() {
                return Ok(());
            }
        }
    };
    let taking = async {
        let mut events = Vec::new();
        while hearing.recv_many(&mut events, BATCH_MAX).await > 0 {
            let mut batch = Vec::new();
            for event in events.drain(..) {
                hear(&client, event, &mut batch)?;
            }
            let said: Vec<Outgoing> = batch.iter().filter_map(said).collect();
            if !said.is_empty() {
                publisher.publish_all(said).await?;
            }
            for publish in &batch {
                client.try_ack(publish)?;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = polling => ended,
        ended = taking => ended,
    }
}

fn hear(client: &AsyncClient, event: Event, batch: &mut Vec<Publish>) -> Result<(), Failed> {
    match event {
        Event::Incoming(Incoming::ConnAck(_)) => {
            let said = [Says::Reading, Says::Asks, Says::Answer, Says::Gone];
            let filters = said
                .map(|says| rumqttc::SubscribeFilterInput::new(says.topic("+"), QoS::AtLeastOnce));
            client.try_subscribe_many(filters)?;
        }
        Event::Incoming(Incoming::Publish(publish)) => batch.push(publish),
        _ => {}
    }
    Ok(())
}

/// What a message says, as an event of its device.
fn said(publish: &Publish) -> Option<Outgoing> {
    let topic = std::str::from_utf8(&publish.topic).ok()?;
    let mut parts = topic.split('/').skip(1);
    let (device, says) = (parts.next()?, parts.next()?);
    let event_type = match says {
        "reading" => ReadingMeasured::TYPE,
        "asks" => DeviceAsked::TYPE,
        "answer" => DeviceAnswered::TYPE,
        "gone" => DeviceGone::TYPE,
        _ => return None,
    };
    let event: EnvelopeBuilder = Envelope::builder(DEVICES, event_type)
        .key(device)
        .payload(Codec::Json, publish.payload.to_vec());
    Some(Outgoing::raw(event))
}
