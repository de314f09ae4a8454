//! One round with one engine: all works, ours and the client's in turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use servers::Running;

use super::events::{BATCH_EVENTS, Events};
use super::raw::{Client, Kind};
use super::row::Sample;
use super::{IN_FLIGHT, ours, theirs};
use crate::Outcome;
use crate::log::statistics::Latencies;
use crate::meter::{Meter, Spent};

/// A round that takes longer is one that hangs.
const ROUND_MAX: Duration = Duration::from_secs(300);

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Extent {
    pub(super) events: usize,
    /// Of these, how many the client also writes as single messages.
    pub(super) singles: usize,
    /// How many are sent one at a time.
    pub(super) timed: usize,
    pub(super) rounds: usize,
}

impl Extent {
    pub(super) const FULL: Self = Self {
        events: 100_000,
        singles: 10_000,
        timed: 500,
        rounds: 5,
    };
    pub(super) const QUICK: Self = Self {
        events: 10_000,
        singles: 1_000,
        timed: 50,
        rounds: 2,
    };
}

/// Everything that one round needs.
struct Round {
    service: Running,
    client: Box<dyn Client>,
    /// Of the streams on the server.
    name: String,
    events: Events,
    extent: Extent,
    /// Who is the first changes from round to round.
    is_ours_first: bool,
    directory: tempfile::TempDir,
}

pub(super) async fn run(
    kind: &'static Kind,
    service: Running,
    extent: Extent,
    number: usize,
    place: PathBuf,
) -> Outcome<Vec<Sample>> {
    let open = |events| Round::open(kind, service.clone(), extent, number, &place, events);
    let round = open(extent.events).await?;
    let mut samples = round.end_after(round.rates()).await?;
    let round = open(extent.singles).await?;
    let rate = round.end_after(round.singles()).await?;
    if let Some(publish) = samples.first_mut() {
        publish.details.push(("client, 1 event a message", rate));
    }
    let round = open(extent.timed).await?;
    samples.extend(round.end_after(round.latencies()).await?);
    Ok(samples)
}

impl Round {
    /// A round on new streams, with so many events.
    async fn open(
        kind: &'static Kind,
        service: Running,
        extent: Extent,
        number: usize,
        place: &Path,
        events: usize,
    ) -> Outcome<Self> {
        let name = format!("bench_{:016x}", fastrand::u64(..));
        Ok(Self {
            client: kind.connect(&service, &name).await?,
            service,
            name,
            events: Events::new(events)?,
            extent,
            is_ours_first: number % 2 == 1,
            directory: tempfile::tempdir_in(place)?,
        })
    }

    /// Does a work, and removes the streams.
    async fn end_after<T>(&self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let measured = tokio::time::timeout(ROUND_MAX, work).await;
        self.client.remove().await?;
        measured.map_err(|_| "the round did not end")?
    }

    /// Does the same work with both sides, one after the other.
    async fn in_turns<A, B>(
        &self,
        ours: impl Future<Output = Outcome<A>>,
        theirs: impl Future<Output = Outcome<B>>,
    ) -> Outcome<(A, B)> {
        if self.is_ours_first {
            return Ok((ours.await?, theirs.await?));
        }
        let theirs = theirs.await?;
        Ok((ours.await?, theirs))
    }

    async fn rates(&self) -> Outcome<Vec<Sample>> {
        let events = self.events.len();
        let (mine, other) = self.in_turns(self.publish(), self.publish_raw()).await?;
        let publish = sample("publish", mine, other, events);
        let consumed = self.in_turns(self.consume(), self.consume_raw());
        let ((mine, local), other) = consumed.await?;
        let mut consume = sample("consume", mine, other, events);
        let detail = ("events/s when the copy is up to date", local.rate(events));
        consume.details.push(detail);
        Ok(vec![publish, consume])
    }

    async fn publish(&self) -> Outcome<Spent> {
        let copy = self.directory.path().join("publisher");
        let engine = ours::connect(&self.service.url, &self.name, &copy).await?;
        let spent = ours::publish(&engine, self.events.batches()).await?;
        engine.close().await?;
        Ok(spent)
    }

    async fn publish_raw(&self) -> Outcome<Spent> {
        theirs::publish(self.client.as_ref(), self.events.messages(), IN_FLIGHT).await
    }

    /// By a process that has nothing yet, from before it connects; and once more by the same, which
    /// has its copy then.
    async fn consume(&self) -> Outcome<(Spent, Spent)> {
        let copy = self.directory.path().join("consumer");
        let meter = Meter::start();
        let engine = ours::connect(&self.service.url, &self.name, &copy).await?;
        ours::consume(&engine, "first", self.events.len()).await?;
        let all = meter.stop();
        let meter = Meter::start();
        ours::consume(&engine, "second", self.events.len()).await?;
        let local = meter.stop();
        engine.close().await?;
        Ok((all, local))
    }

    async fn consume_raw(&self) -> Outcome<Spent> {
        theirs::consume(self.client.as_ref(), &self.events.messages()).await
    }

    async fn singles(&self) -> Outcome<f64> {
        let messages = self.events.singles(self.events.len());
        let spent =
            theirs::publish(self.client.as_ref(), messages, IN_FLIGHT * BATCH_EVENTS).await?;
        Ok(spent.rate(self.events.len()))
    }

    async fn latencies(&self) -> Outcome<Vec<Sample>> {
        let (mine, other) = self.in_turns(self.latency(), self.latency_raw()).await?;
        let ((mut mine, mut my_answers), (mut other, mut other_answers)) = (mine, other);
        let mut timed = |work, share| Sample {
            work,
            unit: "µs",
            ours: mine.microseconds(share),
            client: other.microseconds(share),
            details: vec![
                ("ours acknowledged", my_answers.microseconds(share)),
                ("client acknowledged", other_answers.microseconds(share)),
            ],
        };
        Ok(vec![timed("latency p50", 0.5), timed("latency p99", 0.99)])
    }

    async fn latency(&self) -> Outcome<(Latencies, Latencies)> {
        let (from, to) = (
            self.directory.path().join("from"),
            self.directory.path().join("to"),
        );
        let publisher = ours::connect(&self.service.url, &self.name, &from).await?;
        let consumer = ours::connect(&self.service.url, &self.name, &to).await?;
        let timed = ours::latencies(&publisher, &consumer, self.events.envelopes()).await?;
        publisher.close().await?;
        consumer.close().await?;
        Ok(timed)
    }

    async fn latency_raw(&self) -> Outcome<(Latencies, Latencies)> {
        let messages = self.events.singles(self.extent.timed);
        theirs::latencies(self.client.as_ref(), &messages).await
    }
}

fn sample(work: &'static str, ours: Spent, client: Spent, events: usize) -> Sample {
    Sample {
        work,
        unit: "events/s",
        ours: ours.rate(events),
        client: client.rate(events),
        details: vec![
            ("ours, CPU µs/event", ours.processor_microseconds(events)),
            (
                "client, CPU µs/event",
                client.processor_microseconds(events),
            ),
        ],
    }
}
