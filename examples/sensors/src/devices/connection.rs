//! One device's connection to the broker.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, LastWill, Outgoing, PublishOptions, QoS};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::device::{Device, Say};
use super::manner::Manner;
use super::progress::Progress;
use crate::events::DeviceAnswered;
use crate::mqtt::{Command, Says, Stored};

/// How long an answer may take, until the device asks again: at first, and after many that did not come. Asking more
/// often than answers come would keep them from coming.
const ANSWERED_WITHIN: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));
/// How long to wait before the broker is tried again: at first, and at the most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long a connection may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
/// How many messages a device takes at a time.
const RECEIVED_MAX: u16 = 16;
/// What may wait to be sent beside the readings of one window.
const QUEUE_BESIDE: usize = 16;
/// How many commands a device remembers to have done.
const COMMANDS_REMEMBERED: usize = 16;

/// A device that connects, and again whenever it has lost the broker.
pub(super) struct Connected {
    device: Device,
    manner: Manner,
    progress: Progress,
    /// The commands that it has done, and what it answered.
    done: VecDeque<DeviceAnswered>,
    /// When the next reading may be sent.
    next: Instant,
    /// How long it waits for an answer.
    patience: Duration,
}

/// What one connection has sent.
struct Session {
    client: AsyncClient,
    /// What was handed to the client and has no packet id yet: the number of the reading, if it is one.
    handed: VecDeque<Option<u64>>,
    /// Readings by the packet id under which the broker is to acknowledge them.
    sent: HashMap<u16, u64>,
}

impl Connected {
    pub(super) fn new(device: Device, manner: Manner, progress: Progress) -> Self {
        Self {
            device,
            manner,
            progress,
            done: VecDeque::new(),
            next: Instant::now(),
            patience: ANSWERED_WITHIN.0,
        }
    }

    /// Connects for as long as it is not dropped.
    pub(super) async fn run(mut self) {
        let mut pause = AGAIN.0;
        loop {
            let (client, mut events) = self.client();
            let mut session = Session {
                client,
                handed: VecDeque::new(),
                sent: HashMap::new(),
            };
            let connecting = self.progress.connecting().await;
            if self.talk(&mut session, &mut events, connecting).await {
                pause = AGAIN.0;
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = AGAIN.1.min(pause * 2);
        }
    }

    fn client(&self) -> (AsyncClient, EventLoop) {
        let name = self.device.name();
        let mut options = self.manner.broker.options(name);
        options.set_last_will(LastWill::new(
            Says::Gone.topic(name),
            "{}",
            QoS::AtLeastOnce,
            false,
            None,
        ));
        let capacity = self.manner.window * 2 + QUEUE_BESIDE;
        // By itself the client has room for as many messages as there are packet ids, in megabytes for each device.
        options.set_outgoing_inflight_upper_limit(u16::try_from(capacity).unwrap_or(u16::MAX));
        options.set_receive_maximum(Some(RECEIVED_MAX));
        options.set_connect_timeout(CONNECTED_WITHIN);
        AsyncClient::builder(options).capacity(capacity).build()
    }

    /// Talks until the connection is lost; whether there was one.
    async fn talk(
        &mut self,
        session: &mut Session,
        events: &mut EventLoop,
        mut connecting: Option<OwnedSemaphorePermit>,
    ) -> bool {
        let mut was_connected = false;
        let mut asked_at = Instant::now();
        loop {
            if was_connected {
                self.say_all(session, &mut asked_at);
            }
            let waits_until = self.waits_until(asked_at).filter(|_| was_connected);
            let waiting = async {
                match waits_until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.poll() => match event {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        self.device.connected();
                        if !self.subscribe(session) {
                            return was_connected;
                        }
                    }
                    Ok(Event::Incoming(Incoming::SubAck(_))) => {
                        was_connected = true;
                        drop(connecting.take());
                    }
                    Ok(event) => self.hear(session, event),
                    Err(error) => {
                        tracing::debug!(device = self.device.name(), %error, "the device has no broker");
                        return was_connected;
                    }
                },
                () = waiting => {
                    if asked_at.elapsed() >= self.patience {
                        self.device.unanswered();
                        self.patience = ANSWERED_WITHIN.1.min(self.patience * 2);
                    }
                }
            }
        }
    }

    /// When there is something to do though nothing was heard.
    fn waits_until(&self, asked_at: Instant) -> Option<Instant> {
        if self.device.is_done() {
            return None;
        }
        let asks_again = self.device.is_waiting().then_some(asked_at + self.patience);
        let now = Instant::now();
        let reads = self
            .manner
            .pause()
            .map(|_| self.next)
            .filter(|next| *next > now);
        [asks_again, reads].into_iter().flatten().min()
    }

    fn subscribe(&self, session: &Session) -> bool {
        let name = self.device.name();
        let topics = [Says::Stored, Says::Command];
        let filters = topics
            .map(|says| rumqttc::SubscribeFilterInput::new(says.topic(name), QoS::AtLeastOnce));
        session.client.try_subscribe_many(filters).is_ok()
    }

    /// Says what there is to say, as far as its manner allows.
    fn say_all(&mut self, session: &mut Session, asked_at: &mut Instant) {
        loop {
            // Room for a reading that is said twice, and for answers to commands.
            if session.handed.len() >= self.manner.window {
                return;
            }
            let is_time = self.manner.pause().is_none() || Instant::now() >= self.next;
            match self.device.say(is_time) {
                None => return,
                Some(Say::Asks(asks)) => {
                    *asked_at = Instant::now();
                    // As the readings: at another QoS it could overtake them, and they would be taken for lost.
                    session.say(self.device.name(), Says::Asks, &asks, self.manner.qos, None);
                }
                Some(Say::Reading(reading, times)) => {
                    let number = Some(reading.sequence);
                    for _ in 0..times {
                        session.say(
                            self.device.name(),
                            Says::Reading,
                            &reading,
                            self.manner.qos,
                            number,
                        );
                    }
                    if let Some(pause) = self.manner.pause() {
                        self.next = Instant::now() + pause;
                    }
                }
            }
        }
    }

    fn hear(&mut self, session: &mut Session, event: Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(packet)) => {
                if let Some(Some(number)) = session.handed.pop_front() {
                    session.sent.insert(packet, number);
                }
            }
            Event::Incoming(Incoming::PubAck(ack)) => self.acknowledged(session, ack.pkid),
            Event::Incoming(Incoming::PubComp(done)) => self.acknowledged(session, done.pkid),
            Event::Incoming(Incoming::Publish(publish)) => {
                let name = self.device.name();
                if *publish.topic == *Says::Stored.topic(name).as_bytes() {
                    if let Ok(stored) = serde_json::from_slice::<Stored>(&publish.payload) {
                        self.device.told(stored);
                        if !self.device.is_waiting() {
                            self.patience = ANSWERED_WITHIN.0;
                        }
                        self.progress
                            .stored(self.device.name(), self.device.is_done());
                    }
                } else if let Ok(command) = serde_json::from_slice(&publish.payload) {
                    self.obey(session, command);
                }
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, session: &mut Session, packet: u16) {
        if let Some(number) = session.sent.remove(&packet) {
            self.progress.acknowledged(self.device.name(), number);
        }
    }

    /// Does what a command says once, and answers it as often as it comes.
    fn obey(&mut self, session: &mut Session, command: Command) {
        let done = self.done.iter().find(|it| it.command == command.command);
        let answer = done.cloned().unwrap_or_else(|| DeviceAnswered {
            command: command.command,
            offset: (fastrand::f64() - 0.5) / 10.0,
        });
        if !self.done.contains(&answer) {
            self.done.push_back(answer.clone());
            if self.done.len() > COMMANDS_REMEMBERED {
                self.done.pop_front();
            }
        }
        session.say(
            self.device.name(),
            Says::Answer,
            &answer,
            QoS::AtLeastOnce,
            None,
        );
    }
}

impl Session {
    /// Hands something to the client. What has no room there, or no connection any more, is not said: the device
    /// learns that from what is stored, and who commanded it asks again.
    fn say(
        &mut self,
        device: &str,
        says: Says,
        what: &impl serde::Serialize,
        qos: QoS,
        number: Option<u64>,
    ) {
        let Ok(payload) = serde_json::to_vec(what) else {
            return;
        };
        let options = PublishOptions::new(qos);
        if self
            .client
            .try_publish(says.topic(device), payload, options)
            .is_ok()
        {
            self.handed.push_back(number);
        }
    }
}
