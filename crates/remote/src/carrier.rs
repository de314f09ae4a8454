//! The task that carries a member: over one stream after the other, until the member has ended.

use std::sync::Arc;
use std::time::Duration;

use ensue_core::engine::{Committed, Delivery, Subscription};
use ensue_core::error::{EngineError, Error, Result};
use ensue_proto::v1::commit_answer::Outcome;
use ensue_proto::v1::join_request::Request;
use ensue_proto::v1::join_response::Response;
use ensue_proto::{Malformed, error_of, error_of_status, v1};
use futures_util::stream;
use hyper::header::HeaderValue;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::calls::{Calls, Life, is_lost, pause};
use crate::seat::{End, Seat};

/// How many messages wait for the connection.
const REQUESTS_MAX: usize = 1;
/// How long a member that leaves waits for the server to say so.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream to the server, both ways.
struct Stream {
    requests: mpsc::Sender<v1::JoinRequest>,
    responses: Streaming<v1::JoinResponse>,
    /// The token that it was opened with.
    token: Option<HeaderValue>,
}

/// Why a stream ends.
enum Cut {
    /// The connection is gone, or the server stops: the member may go on.
    Lost,
    /// The member has ended.
    Ended(End),
}

/// What carries a member.
pub(crate) struct Carrier {
    calls: Arc<Calls>,
    seat: Arc<Seat>,
    subscription: v1::Subscription,
    life: watch::Receiver<Life>,
    /// Told, by its end, that the task has ended.
    _over: watch::Sender<()>,
    /// What the engine waits for the end of.
    _counted: watch::Receiver<()>,
}

impl Carrier {
    pub(crate) fn new(
        calls: Arc<Calls>,
        seat: Arc<Seat>,
        subscription: &Subscription,
        over: watch::Sender<()>,
        counted: watch::Receiver<()>,
    ) -> Self {
        Self {
            life: calls.life(),
            calls,
            seat,
            subscription: subscription.into(),
            _over: over,
            _counted: counted,
        }
    }

    /// Carries the member from joining to its end.
    pub(crate) async fn carry(mut self, joined: oneshot::Sender<Result<()>>) {
        let (mut stream, session) = match self.join().await {
            Ok(begun) => begun,
            Err(error) => {
                let _ = joined.send(Err(error));
                return;
            }
        };
        if joined.send(Ok(())).is_err() {
            // The one who wanted it has gone.
            self.seat.leave();
        }
        let end = loop {
            match self.work(stream).await {
                Cut::Ended(end) => break end,
                Cut::Lost => match self.resume(&session).await {
                    Ok(resumed) => stream = resumed,
                    Err(end) => break end,
                },
            }
        };
        self.seat.ended(end);
    }

    /// Joins the group: tried again while the server is away, for as long as the URL says.
    async fn join(&mut self) -> Result<(Stream, String)> {
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            self.calls.check_open()?;
            let first = Request::Join(v1::JoinGroup {
                subscription: Some(self.subscription.clone()),
                lease_ms: self.lease_ms(),
            });
            let error = match self.open(first).await {
                Ok(mut stream) => match stream.responses.message().await {
                    Ok(Some(v1::JoinResponse {
                        response: Some(Response::Joined(joined)),
                    })) => return Ok((stream, joined.session)),
                    Ok(_) => self.calls.link.unavailable("it did not answer as expected"),
                    Err(status) => self.refused(&status, stream.token.as_ref()).await,
                },
                Err(error) => error,
            };
            let is_over = began.elapsed() >= self.calls.link.options().connect_timeout;
            if is_over || !is_away(&error) {
                return Err(error);
            }
            attempts += 1;
            pause(attempts).await;
        }
    }

    /// Goes on with the member over a new stream.
    async fn resume(&mut self, session: &str) -> Result<Stream, End> {
        let lost = Instant::now();
        let mut attempts = 0;
        loop {
            match *self.life.borrow() {
                Life::Open => {}
                Life::Closed | Life::Abandoned => return Err(End::Closed),
            }
            // Its lease ends without it.
            if self.seat.is_leaving() && lost.elapsed() > LEAVE_TIMEOUT {
                return Err(End::Fenced);
            }
            let (received, answered) = self.seat.resumed();
            let first = Request::Resume(v1::ResumeMember {
                session: session.to_owned(),
                received,
                answered,
                group: self.seat.group().to_owned(),
            });
            match self.open(first).await {
                Ok(stream) => return Ok(stream),
                Err(error) if is_away(&error) => {
                    tracing::debug!(group = self.seat.group(), %error, attempts, "cut off");
                }
                Err(error) => {
                    tracing::debug!(group = self.seat.group(), %error, "the member is gone");
                    return Err(End::Fenced);
                }
            }
            attempts += 1;
            tokio::select! {
                () = pause(attempts) => {}
                _ = self.life.changed() => {}
            }
        }
    }

    async fn open(&self, first: Request) -> Result<Stream> {
        let (mut client, _) = self.calls.link.client().await?;
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let first = v1::JoinRequest {
            request: Some(first),
        };
        let sent = stream::unfold((Some(first), receiver), |(first, mut receiver)| async {
            match first {
                Some(first) => Some((first, (None, receiver))),
                None => Some((receiver.recv().await?, (None, receiver))),
            }
        });
        let token = self.calls.link.token();
        let responses = match client.join(sent).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => return Err(self.refused(&status, token.as_ref()).await),
        };
        Ok(Stream {
            requests,
            responses,
            token,
        })
    }

    async fn work(&mut self, mut stream: Stream) -> Cut {
        let mut leaving = None;
        loop {
            if leaving.is_none() && (self.seat.is_leaving()) {
                leaving = Some(Instant::now() + LEAVE_TIMEOUT);
            }
            tokio::select! {
                response = stream.responses.message() => {
                    let refused = response.as_ref().err();
                    if let Some(status) = refused && self.is_renewed(status, &stream).await {
                        return Cut::Lost;
                    }
                    if let Err(cut) = self.handle(response) {
                        return cut;
                    }
                }
                permit = stream.requests.reserve(), if self.seat.is_pending() => {
                    let Ok(permit) = permit else {
                        return Cut::Lost;
                    };
                    if let Some(request) = self.seat.next_output() {
                        permit.send(v1::JoinRequest { request: Some(request) });
                    }
                }
                () = self.seat.has_output() => {}
                _ = self.life.changed() => match *self.life.borrow_and_update() {
                    Life::Open => {}
                    // Closing an engine makes its members leave.
                    Life::Closed => self.seat.leave(),
                    Life::Abandoned => return Cut::Ended(End::Closed),
                },
                () = until(leaving) => return Cut::Ended(self.end()),
            }
        }
    }

    /// What a member is that has left.
    fn end(&self) -> End {
        match *self.life.borrow() {
            Life::Open => End::Fenced,
            Life::Closed | Life::Abandoned => End::Closed,
        }
    }

    fn handle(&self, response: Result<Option<v1::JoinResponse>, Status>) -> Result<(), Cut> {
        let response = match response {
            Ok(Some(response)) => response.response,
            Ok(None) => return Err(Cut::Lost),
            Err(status) if is_lost(&status) || is_away(&self.error(&status)) => {
                return Err(Cut::Lost);
            }
            Err(status) => {
                tracing::warn!(group = self.seat.group(), error = %self.error(&status), "refused");
                return Err(Cut::Ended(End::Fenced));
            }
        };
        match response {
            Some(Response::Deliver(batch)) => {
                let number = batch.batch;
                let deliveries = batch.deliveries.into_iter().map(Delivery::try_from);
                match deliveries.collect::<Result<Vec<_>, Malformed>>() {
                    Ok(deliveries) => self.seat.delivered(number, deliveries),
                    Err(error) => {
                        tracing::error!(%error, "the server sent what is no event");
                        return Err(Cut::Ended(End::Fenced));
                    }
                }
            }
            Some(Response::Commit(answer)) => {
                let number = answer.number;
                let answer = match answer.outcome {
                    Some(Outcome::Committed(committed)) => Ok(Committed {
                        generation: committed.generation,
                        dropped: committed.dropped as usize,
                    }),
                    Some(Outcome::Refused(detail)) => Err(self.error_of(&detail)),
                    None => Err(self
                        .calls
                        .link
                        .unavailable("it did not say what came of a commit")),
                };
                self.seat.answered(number, answer);
            }
            Some(Response::TakeRefused(detail)) => self.seat.take_refused(self.error_of(&detail)),
            Some(Response::Left(_)) => return Err(Cut::Ended(self.end())),
            Some(Response::Joined(_)) | None => {}
        }
        Ok(())
    }

    /// Whether the stream ended with its token, and there is another by now: the member goes on with that.
    async fn is_renewed(&self, status: &Status, stream: &Stream) -> bool {
        let token = stream.token.as_ref();
        self.calls.link.has_other_token(status, token).await
    }

    /// Why a stream was not opened: for now, if that was the token and there is another by now.
    async fn refused(&self, status: &Status, token: Option<&HeaderValue>) -> Error {
        let link = &self.calls.link;
        if link.has_other_token(status, token).await {
            return link.unavailable("it refused the token, and there is another by now");
        }
        self.error(status)
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.calls.link.options().lease.as_millis()).unwrap_or(u64::MAX)
    }

    fn error(&self, status: &Status) -> Error {
        let link = &self.calls.link;
        link.away_if_closed(error_of_status(status, &link.options().shown))
    }

    fn error_of(&self, detail: &v1::ErrorDetail) -> Error {
        let link = &self.calls.link;
        link.away_if_closed(error_of(detail, &link.options().shown))
    }
}

/// Whether the server is away, and may be back.
fn is_away(error: &Error) -> bool {
    matches!(error, Error::Engine(EngineError::Unavailable { .. }))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
