//! Where a check works: an engine on a storage of its own, a clock, and names that no other
//! check uses.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::flaw::{Flaw, Verdict, ensure};
use super::hand::Hand;
use super::labels::label;
use super::{Storage, Subject, Terms};
use ensue_core::engine::{
    Append, Appended, DeadLetter, DeadLetterFilter, EngineStatus, GroupStatus, Member, Query,
    Recorded, Schedule, SharedEngine, Start, Subscription,
};
use ensue_core::error::{Error, GroupError, OpenError};
use ensue_core::event::{Codec, Envelope, EnvelopeBuilder, EventId};
use ensue_core::time::{Clock, Timestamp, VirtualClock};

/// How many events a member holds where a check does not care.
pub(super) const IN_FLIGHT_MAX: usize = 1_000;
/// The type of events where a check does not care.
pub(super) const KIND: &str = "contract.tested";
/// Who publishes the events of a check.
const SOURCE: &str = "/contract";
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Lab {
    pub(super) terms: Terms,
    storage: Box<dyn Storage>,
    engine: Option<SharedEngine>,
    colleagues: Vec<SharedEngine>,
    pub(super) clock: Clock,
    hands: Option<VirtualClock>,
    prefix: String,
}

impl Lab {
    pub(super) async fn new(subject: &dyn Subject) -> Verdict<Self> {
        let hands = subject
            .owns_time()
            .then(|| VirtualClock::new(Timestamp::now()));
        let clock = hands.clone().map_or_else(Clock::system, Clock::from);
        let storage = subject.storage().await?;
        let engine = storage.open(clock.clone()).await?;
        Ok(Self {
            terms: subject.terms(),
            storage,
            engine: Some(engine),
            colleagues: Vec::new(),
            clock,
            hands,
            prefix: format!("c{:08x}", fastrand::u32(..)),
        })
    }

    pub(super) fn engine(&self) -> Verdict<&SharedEngine> {
        self.engine
            .as_ref()
            .ok_or_else(|| Flaw::new("an open engine", "none"))
    }

    /// An engine as another process would have it, where several may work on one storage.
    pub(super) async fn colleague(&mut self) -> Verdict<SharedEngine> {
        let engine = self.engine()?.clone();
        if !engine.guarantees().multi_process {
            return Ok(engine);
        }
        let colleague = self.storage.open(self.clock.clone()).await?;
        self.colleagues.push(colleague.clone());
        Ok(colleague)
    }

    /// Ends every engine without closing it and opens one on what is left. The caller has
    /// no members any more.
    pub(super) async fn crash(&mut self) -> Verdict {
        self.crash_with(Vec::new()).await
    }

    /// A crash of the process that has this member.
    pub(super) async fn crash_holding(&mut self, hand: Hand) -> Verdict {
        self.crash_with(vec![hand.member]).await
    }

    /// A crash, after which no engine runs for some time.
    pub(super) async fn crash_and_wait(&mut self, time: Duration) -> Verdict {
        self.colleagues.clear();
        if let Some(engine) = self.engine.take() {
            self.storage.crash(engine, Vec::new()).await?;
        }
        self.pass(time).await;
        self.reopen().await
    }

    async fn crash_with(&mut self, members: Vec<Box<dyn Member>>) -> Verdict {
        self.colleagues.clear();
        if let Some(engine) = self.engine.take() {
            self.storage.crash(engine, members).await?;
        }
        self.reopen().await
    }

    /// Closes every engine and opens one on the same storage.
    pub(super) async fn restart(&mut self) -> Verdict {
        self.finish().await?;
        self.reopen().await
    }

    pub(super) async fn finish(&mut self) -> Verdict {
        for engine in self.colleagues.drain(..) {
            engine.close().await?;
        }
        if let Some(engine) = self.engine.take() {
            engine.close().await?;
        }
        Ok(())
    }

    async fn reopen(&mut self) -> Verdict {
        let deadline = tokio::time::Instant::now() + self.terms.arrive;
        loop {
            match self.storage.open(self.clock.clone()).await {
                Ok(engine) => {
                    self.engine = Some(engine);
                    return Ok(());
                }
                // The threads of a dropped engine may take a moment to let go.
                Err(Error::Open(OpenError::Locked { .. }))
                    if tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, time: Duration) {
        match &self.hands {
            Some(hands) => hands.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// The hands of the clock, where the suite may move them.
    pub(super) fn hands(&self) -> Option<VirtualClock> {
        self.hands.clone()
    }

    /// How far off "later" is.
    pub(super) fn delay(&self) -> Duration {
        match self.hands {
            Some(_) => Duration::from_secs(3_600),
            None => self.terms.delay,
        }
    }

    /// A little, and yet long enough that two appends bear different times.
    pub(super) fn moment(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// `later`, as an instant.
    pub(super) fn later(&self) -> Timestamp {
        self.clock.now().plus(self.delay())
    }

    /// Lets a death be noticed where the engine goes by the suite's clock; else `take` waits.
    pub(super) async fn outlive_failover(&self) -> Verdict {
        let failover = self.engine()?.guarantees().failover;
        if let Some(hands) = &self.hands {
            hands.advance(failover);
        }
        // Between processes, silence is measured in real time.
        if !failover.is_zero() {
            tokio::time::sleep(2 * failover).await;
        }
        Ok(())
    }

    pub(super) fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.terms.seed)
    }
}

/// Names and events.
impl Lab {
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub(super) fn group(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub(super) fn id(&self, topic: &str, key: &str, number: u64) -> String {
        format!("{}/{topic}/{key}/{number}", self.prefix)
    }

    pub(super) fn event_id(&self, topic: &str, key: &str, number: u64) -> EventId {
        EventId::new(SOURCE, self.id(topic, key, number))
    }

    pub(super) fn builder(&self, topic: &str, key: &str, number: u64) -> EnvelopeBuilder {
        Envelope::builder(self.topic(topic), KIND)
            .key(key)
            .id(self.id(topic, key, number))
            .source(SOURCE)
            .time(self.clock.now())
            .payload(Codec::Json, number.to_string().into_bytes())
    }

    pub(super) fn event(&self, topic: &str, key: &str, number: u64) -> Verdict<Envelope> {
        Ok(self.builder(topic, key, number).build()?)
    }

    /// The event that `builder` makes, of another type.
    pub(super) fn retyped(&self, builder: EnvelopeBuilder, kind: &str) -> Verdict<Envelope> {
        let event = builder.build()?;
        let retyped = Envelope::builder(event.topic(), kind)
            .key(event.key())
            .id(event.id())
            .time(event.time())
            .payload(Codec::Json, event.payload().to_vec());
        Ok(retyped.build()?)
    }

    /// Events of one key, in order.
    pub(super) fn events(
        &self,
        topic: &str,
        key: &str,
        numbers: RangeInclusive<u64>,
    ) -> Verdict<Vec<Envelope>> {
        numbers.map(|n| self.event(topic, key, n)).collect()
    }

    pub(super) fn subscription(&self, group: &str, topic: &str) -> Verdict<Subscription> {
        Ok(Subscription {
            group: self.group(group),
            topics: vec![self.topic(topic).parse()?],
            types: None,
            start: Start::Earliest,
            in_flight_max: IN_FLIGHT_MAX,
        })
    }
}

/// What checks do to the engine.
impl Lab {
    pub(super) async fn append(&self, events: Vec<Envelope>) -> Verdict<Vec<Appended>> {
        let batch: Vec<Append> = events.into_iter().map(Append::from).collect();
        let wanted = batch.len();
        let appended = self.engine()?.append(batch).await?;
        ensure(
            appended.len() == wanted,
            format_args!("one result for each of {wanted} events"),
            format_args!("{} results", appended.len()),
        )?;
        Ok(appended)
    }

    /// Appends events of one key, in order, as one batch.
    pub(super) async fn publish(
        &self,
        topic: &str,
        key: &str,
        numbers: RangeInclusive<u64>,
    ) -> Verdict<Vec<Appended>> {
        self.append(self.events(topic, key, numbers)?).await
    }

    /// Appends one event for later.
    pub(super) async fn schedule(&self, event: Envelope, at: Timestamp) -> Verdict<Appended> {
        let append = Append {
            schedule: Some(Schedule::at(at)),
            ..event.into()
        };
        let appended = self.engine()?.append(vec![append]).await?;
        appended
            .first()
            .copied()
            .ok_or_else(|| Flaw::new("a result for the scheduled event", "none"))
    }

    /// Sets a timer.
    pub(super) async fn set(
        &self,
        timer: &str,
        event: Envelope,
        at: Timestamp,
    ) -> Verdict<Appended> {
        let append = Append {
            schedule: Some(Schedule {
                at,
                timer: Some(timer.to_owned()),
            }),
            ..event.into()
        };
        let appended = self.engine()?.append(vec![append]).await?;
        appended
            .first()
            .copied()
            .ok_or_else(|| Flaw::new("a result for the timer", "none"))
    }

    pub(super) async fn join(&self, group: &str, topic: &str) -> Verdict<Hand> {
        self.join_as(self.subscription(group, topic)?).await
    }

    pub(super) async fn join_as(&self, subscription: Subscription) -> Verdict<Hand> {
        self.join_at(self.engine()?, subscription).await
    }

    pub(super) async fn join_at(
        &self,
        engine: &SharedEngine,
        subscription: Subscription,
    ) -> Verdict<Hand> {
        let limit = self.terms.arrive + engine.guarantees().failover;
        let member = engine.join(subscription).await?;
        Ok(Hand::new(member, limit, self.terms.quiet))
    }

    /// Everything that a topic holds.
    pub(super) async fn stored(&self, topic: &str) -> Verdict<Vec<Recorded>> {
        let query = Query {
            topics: Some(self.topic(topic).parse()?),
            ..Query::default()
        };
        self.read_all(query).await
    }

    /// Every page of a query.
    pub(super) async fn read_all(&self, mut query: Query) -> Verdict<Vec<Recorded>> {
        let mut all = Vec::new();
        loop {
            let page = self.engine()?.read(query.clone()).await?;
            let is_stuck = page.next <= query.from && !page.is_end;
            all.extend(page.events);
            if page.is_end {
                return Ok(all);
            }
            ensure(
                !is_stuck,
                "the next page further on",
                format_args!("page after {} goes on at {}", query.from, page.next),
            )?;
            query.from = page.next;
        }
    }

    /// Waits until a topic holds `count` events, and returns what it holds then.
    pub(super) async fn stored_eventually(
        &self,
        topic: &str,
        count: usize,
    ) -> Verdict<Vec<Recorded>> {
        let deadline = tokio::time::Instant::now() + self.terms.arrive;
        loop {
            let stored = self.stored(topic).await?;
            if stored.len() >= count || tokio::time::Instant::now() > deadline {
                ensure(
                    stored.len() == count,
                    format_args!("{count} events in topic `{topic}`"),
                    format_args!("{}", stored.len()),
                )?;
                return Ok(stored);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn status(&self) -> Verdict<EngineStatus> {
        Ok(self.engine()?.status().await?)
    }

    /// Waits until the group's status is as it should be.
    pub(super) async fn group_is(
        &self,
        group: &str,
        what: &str,
        holds: impl Fn(&GroupStatus) -> bool,
    ) -> Verdict<GroupStatus> {
        let name = self.group(group);
        let deadline = tokio::time::Instant::now() + self.terms.arrive;
        loop {
            let found = match self.engine()?.group(&name).await {
                Err(Error::Group(GroupError::Unknown { .. })) => None,
                found => Some(found?),
            };
            match found {
                Some(found) if holds(&found) => return Ok(found),
                found if tokio::time::Instant::now() > deadline => {
                    return Err(Flaw::new(
                        format_args!("group `{group}`: {what}"),
                        format_args!("{found:?}"),
                    ));
                }
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    pub(super) async fn dead_letters(&self, group: &str) -> Verdict<Vec<DeadLetter>> {
        self.dead_letters_like(group, DeadLetterFilter::default())
            .await
    }

    pub(super) async fn dead_letters_like(
        &self,
        group: &str,
        filter: DeadLetterFilter,
    ) -> Verdict<Vec<DeadLetter>> {
        let group = self.group(group);
        Ok(self.engine()?.dead_letters(Some(&group), filter).await?)
    }

    pub(super) async fn state(
        &self,
        group: &str,
        topic: &str,
        key: &str,
        name: &str,
    ) -> Verdict<Option<Vec<u8>>> {
        let (group, topic) = (self.group(group), self.topic(topic));
        let cell = self.engine()?.state(&group, &topic, key, name).await?;
        Ok(cell.map(|bytes| bytes.to_vec()))
    }

    /// The ids of the scheduled events of this check, the next due first.
    pub(super) async fn scheduled(&self) -> Verdict<Vec<String>> {
        let scheduled = self.engine()?.scheduled(usize::MAX).await?;
        let own = format!("{}/", self.prefix);
        let events = scheduled.iter().filter_map(|it| it.envelope.as_ref().ok());
        let own = events.filter(|event| event.id().starts_with(&own));
        Ok(own.map(label).collect())
    }
}
