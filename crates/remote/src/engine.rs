//! The engine: each operation is a call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_core::engine::{
    APPEND_EVENTS_MAX, Append, Appended, DeadLetter, DeadLetterFilter, Driver, EngineStatus,
    Finding, GroupStatus, Guarantees, Health, Member, Page, Query, Reset, ResetPlan, Scheduled,
    Subscription,
};
use ensue_core::error::{EngineError, Error, LimitError, Result};
use ensue_core::time::Clock;
use ensue_core::{BoxFuture, Cursor, EventId, background};
use ensue_proto::{Malformed, v1};
use prost::Message as _;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::{Status, Streaming};

use crate::calls::{Again, Calls, Key, Life};
use crate::carrier::Carrier;
use crate::link::Client;
use crate::member::{RemoteMember, check_size};
use crate::options::Options;
use crate::seat::Seat;

/// How many wait for something to come at a time: each is a stream of the connection.
const WAITS_MAX: usize = 256;
/// How long an engine that is closed waits for its members to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Clocks that are further apart make retries and schedules early or late.
const CLOCKS_APART: Duration = Duration::from_secs(1);

/// The engine that another process serves.
#[derive(Debug)]
pub(crate) struct Remote {
    calls: Arc<Calls>,
    url: String,
    clock: Clock,
    guarantees: Guarantees,
    waits: Semaphore,
    /// Held by every member's task: it ends when all have ended.
    members: watch::Sender<()>,
}

impl Remote {
    pub(crate) async fn open(options: Options, clock: Clock) -> Result<Self> {
        let (url, lease) = (options.shown.clone(), options.lease);
        let calls = Calls::new(options)?;
        let info = calls.call(Again::Safe, get_info).await?;
        let guarantees = guarantees(&calls, info.guarantees, lease)?;
        Ok(Self {
            calls: Arc::new(calls),
            url,
            clock,
            guarantees,
            waits: Semaphore::new(WAITS_MAX),
            members: watch::Sender::new(()),
        })
    }

    /// What the server said, if it means something.
    fn read<T>(&self, said: Result<T, Malformed>) -> Result<T> {
        said.map_err(|error| malformed(&self.calls, &error))
    }

    async fn ask<T, F>(
        &self,
        again: Again,
        attempt: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        let attempt = |client| {
            let response = attempt(client);
            async { Ok(response.await?.into_inner()) }
        };
        self.calls.call(again, attempt).await
    }
}

/// What the server sent means nothing.
fn malformed(calls: &Calls, error: &Malformed) -> Error {
    calls.link.unavailable(format!(
        "its answer means nothing here: {error}; is it of another version?"
    ))
}

async fn get_info(mut client: Client) -> Result<v1::GetInfoResponse, Status> {
    let response = client.get_info(v1::GetInfoRequest {}).await?;
    Ok(response.into_inner())
}

/// What the server's engine promises, to as many processes as there are.
fn guarantees(calls: &Calls, said: Option<v1::Guarantees>, lease: Duration) -> Result<Guarantees> {
    let said = said.ok_or(Malformed::Field {
        name: "guarantees",
        problem: "is missing",
    });
    let said = said.and_then(Guarantees::try_from);
    let said = said.map_err(|error| malformed(calls, &error))?;
    Ok(Guarantees {
        multi_process: true,
        failover: said.failover.max(lease),
        ..said
    })
}

/// Everything that a stream says, in one.
async fn all<T, R>(
    mut responses: Streaming<R>,
    items: impl Fn(R) -> Vec<T>,
) -> Result<Vec<T>, Status> {
    let mut all = Vec::new();
    while let Some(response) = responses.message().await? {
        all.extend(items(response));
    }
    Ok(all)
}

fn check_count(count: usize) -> Result<()> {
    if count <= APPEND_EVENTS_MAX {
        return Ok(());
    }
    Err(Error::Limit(LimitError {
        what: "the number of events of an append".to_owned(),
        value: count as u64,
        limit: "APPEND_EVENTS_MAX",
        max: APPEND_EVENTS_MAX as u64,
        advice: "append in several batches",
    }))
}

impl Driver for Remote {
    fn url(&self) -> &str {
        &self.url
    }

    fn abandon(&self) {
        self.calls.end(Life::Abandoned);
        self.calls.link.cut();
    }

    fn guarantees(&self) -> &Guarantees {
        &self.guarantees
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        Box::pin(async move {
            self.calls.check_open()?;
            check_count(batch.len())?;
            let request = v1::AppendRequest {
                batch: batch.iter().map(v1::Append::from).collect(),
            };
            drop(batch);
            check_size(request.encoded_len())?;
            // The events' ids make it safe to send it again; the key gives the first receipts.
            let key = Key::new();
            let append = |mut client: Client| {
                let request = key.of(request.clone());
                async move { client.append(request).await }
            };
            let response = self.ask(Again::Safe, append).await?;
            Ok(response.receipts.into_iter().map(Into::into).collect())
        })
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        Box::pin(async move {
            self.calls.check_open()?;
            let seat = Arc::new(Seat::new(subscription.group.clone(), self.url.clone()));
            let (over, ended) = watch::channel(());
            let carrier = Carrier::new(
                self.calls.clone(),
                seat.clone(),
                &subscription,
                over,
                self.members.subscribe(),
            );
            let (joined, outcome) = oneshot::channel();
            // From here on, dropping the member is leaving.
            let member = RemoteMember::new(seat, ended);
            background::spawn(carrier.carry(joined))?;
            let closed = || Err(Error::Engine(EngineError::Closed));
            outcome.await.unwrap_or_else(|_| closed())?;
            Ok(Box::new(member) as Box<dyn Member>)
        })
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            let request = v1::ReadRequest::from(&query);
            let read = |mut client: Client| {
                let request = request.clone();
                async move {
                    let mut responses = client.read(request).await?.into_inner();
                    let (mut events, mut last) = (Vec::new(), None);
                    while let Some(mut response) = responses.message().await? {
                        events.append(&mut response.events);
                        last = Some((response.next, response.is_end));
                    }
                    // A page has at least one piece, which may be empty.
                    let lost = || Status::unknown("the stream ended before the page did");
                    let (next, is_end) = last.ok_or_else(lost)?;
                    Ok((events, next, is_end))
                }
            };
            let (events, next, is_end) = self.calls.call(Again::Safe, read).await?;
            let events = events.into_iter().map(ensue_proto::recorded);
            let events = self.read(events.collect::<Result<_, _>>())?;
            let next = self.read(next.parse::<Cursor>().map_err(Malformed::from))?;
            Ok(Page {
                events,
                next,
                is_end,
            })
        })
    }

    fn wait(&self, cursor: Cursor) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.calls.check_open()?;
            let request = v1::WaitRequest {
                cursor: cursor.to_string(),
            };
            // It is never closed.
            let _turn = self.waits.acquire().await;
            let wait = |mut client: Client| {
                let request = request.clone();
                async move { client.wait(request).await }
            };
            self.ask(Again::Forever, wait).await.map(drop)
        })
    }

    fn cancel(&self, names: Vec<EventId>) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            let request = v1::CancelRequest {
                names: names.iter().map(Into::into).collect(),
            };
            check_size(request.encoded_len())?;
            let key = Key::new();
            let cancel = |mut client: Client| {
                let request = key.of(request.clone());
                async move { client.cancel(request).await }
            };
            let response = self.ask(Again::Once, cancel).await?;
            Ok(response.cancelled as usize)
        })
    }

    fn scheduled(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Scheduled>>> {
        Box::pin(async move {
            let request = v1::ListScheduledRequest {
                limit: limit as u64,
            };
            let list = |mut client: Client| async move {
                let responses = client.list_scheduled(request).await?;
                all(responses.into_inner(), |it| it.scheduled).await
            };
            let scheduled = self.calls.call(Again::Safe, list).await?;
            let scheduled = scheduled.into_iter().map(ensue_proto::scheduled);
            self.read(scheduled.collect())
        })
    }

    fn state<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        key: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            let [group, topic, key, name] = [group, topic, key, name].map(str::to_owned);
            let request = v1::GetStateRequest {
                group,
                topic,
                key,
                name,
            };
            let get = |mut client: Client| {
                let request = request.clone();
                async move { client.get_state(request).await }
            };
            Ok(self.ask(Again::Safe, get).await?.value)
        })
    }

    fn states<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        name: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        Box::pin(async move {
            let request = v1::ListStatesRequest {
                group: group.to_owned(),
                topic: topic.to_owned(),
                name: name.to_owned(),
                after: after.map(str::to_owned),
                limit: limit as u64,
            };
            let list = |mut client: Client| {
                let request = request.clone();
                async move {
                    let responses = client.list_states(request).await?;
                    all(responses.into_inner(), |it| it.states).await
                }
            };
            let states = self.calls.call(Again::Safe, list).await?;
            Ok(states.into_iter().map(|it| (it.key, it.value)).collect())
        })
    }

    fn dead_letters<'a>(
        &'a self,
        group: Option<&'a str>,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            let request = v1::ListDeadLettersRequest {
                group: group.map(str::to_owned),
                filter: Some((&filter).into()),
            };
            let list = |mut client: Client| {
                let request = request.clone();
                async move {
                    let responses = client.list_dead_letters(request).await?;
                    all(responses.into_inner(), |it| it.dead_letters).await
                }
            };
            let letters = self.calls.call(Again::Safe, list).await?;
            let letters = letters.into_iter().map(DeadLetter::try_from);
            self.read(letters.collect())
        })
    }

    fn redrive<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            let request = v1::RedriveRequest {
                group: group.to_owned(),
                filter: Some((&filter).into()),
            };
            let key = Key::new();
            let redrive = |mut client: Client| {
                let request = key.of(request.clone());
                async move { client.redrive(request).await }
            };
            Ok(self.ask(Again::Once, redrive).await?.redriven as usize)
        })
    }

    fn discard<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            let request = v1::DiscardRequest {
                group: group.to_owned(),
                filter: Some((&filter).into()),
            };
            let key = Key::new();
            let discard = |mut client: Client| {
                let request = key.of(request.clone());
                async move { client.discard(request).await }
            };
            Ok(self.ask(Again::Once, discard).await?.discarded as usize)
        })
    }

    fn reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        Box::pin(async move {
            let request = v1::ResetGroupRequest {
                group: group.to_owned(),
                reset: Some((&reset).into()),
            };
            let key = Key::new();
            let reset = |mut client: Client| {
                let request = key.of(request.clone());
                async move { client.reset_group(request).await }
            };
            let plan = self.ask(Again::Once, reset).await?.plan;
            self.read(plan.unwrap_or_default().try_into())
        })
    }

    fn plan_reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>> {
        Box::pin(async move {
            let request = v1::PlanResetRequest {
                group: group.to_owned(),
                reset: Some((&reset).into()),
            };
            let plan = |mut client: Client| {
                let request = request.clone();
                async move { client.plan_reset(request).await }
            };
            let plan = self.ask(Again::Safe, plan).await?.plan;
            self.read(plan.unwrap_or_default().try_into())
        })
    }

    fn delete_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let request = v1::DeleteGroupRequest {
                group: group.to_owned(),
            };
            let key = Key::new();
            let delete = |mut client: Client| {
                let request = key.of(request.clone());
                async move { client.delete_group(request).await }
            };
            self.ask(Again::Once, delete).await.map(drop)
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        Box::pin(async move {
            let get = |mut client: Client| async move {
                client.get_health(v1::GetHealthRequest {}).await
            };
            let health = self.ask(Again::Safe, get).await?;
            self.read(health.try_into())
        })
    }

    fn group<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<GroupStatus>> {
        Box::pin(async move {
            let group = name.to_owned();
            let request = v1::GetGroupRequest { group };
            let get = |mut client: Client| {
                let request = request.clone();
                async move { client.get_group(request).await }
            };
            let group = self.ask(Again::Safe, get).await?.group;
            self.read(group.unwrap_or_default().try_into())
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<EngineStatus>> {
        Box::pin(async move {
            let get = |mut client: Client| async move {
                client.get_status(v1::GetStatusRequest {}).await
            };
            let status = self.ask(Again::Safe, get).await?.status;
            let status = self.read(EngineStatus::try_from(status.unwrap_or_default()))?;
            Ok(EngineStatus {
                url: self.url.clone(),
                guarantees: self.guarantees,
                ..status
            })
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.calls.end(Life::Closed);
            let left = tokio::time::timeout(CLOSE_TIMEOUT, self.members.closed()).await;
            if left.is_err() {
                tracing::warn!(
                    url = self.url,
                    "members did not leave in time: their leases end"
                );
            }
            self.calls.link.cut();
            Ok(())
        })
    }
}

/// What weakens the promises of a server, beyond what its own `doctor` says.
pub(crate) async fn examine(options: Options) -> Result<Vec<Finding>> {
    let shown = options.shown.clone();
    // Once: a server that is away is a finding.
    let once = Options {
        connect_timeout: Duration::ZERO,
        ..options
    };
    let lease = once.lease;
    let calls = Calls::new(once)?;
    let info = calls.call(Again::Safe, get_info).await?;
    let guarantees = guarantees(&calls, info.guarantees, lease)?;
    let mut findings = vec![Finding::well(
        "server",
        format!("`{shown}` answers; it is Ensue {}", info.version),
    )];
    findings.push(if guarantees.durable_on_acknowledge {
        Finding::well("durability", "acknowledged is on stable storage")
    } else {
        Finding::weak(
            "durability",
            "the engine of the server acknowledges before it syncs",
            "what was acknowledged last is lost when the power fails",
            "run `ensue doctor` where the server runs",
        )
    });
    findings.push(if guarantees.survives_restart {
        Finding::well("restart", "the log outlives the server")
    } else {
        Finding::weak(
            "restart",
            "the server's log is in memory",
            "everything is lost when the server ends",
            "serve a directory: `ensue serve --engine embedded:./data`",
        )
    });
    let (theirs, ours) = (info.now_us, ensue_core::Timestamp::now().as_micros());
    let apart = Duration::from_micros(theirs.abs_diff(ours));
    findings.push(if apart <= CLOCKS_APART {
        Finding::well("clock", "the server's clock shows what this one does")
    } else {
        Finding::weak(
            "clock",
            format!("the server's clock and this one are {apart:?} apart"),
            "retries and schedules are early or late by that",
            "synchronise both clocks (NTP)",
        )
    });
    calls.link.cut();
    Ok(findings)
}
