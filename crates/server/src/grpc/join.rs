//! `Join`: one stream of a member. Events go to the client as far as it lets them, commits come from it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::Error;
use ensue::engine::Subscription;
use ensue::error::GroupError;
use ensue_proto::v1;
use ensue_proto::v1::join_request::Request;
use ensue_proto::v1::join_response::Response;
use ensue_proto::{Malformed, detail_of, detail_of_status, status_of};
use futures_util::{Stream, stream};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::answer::{malformed, problem, stopping, within};
use super::permit;
use super::session::{Refused, Seat, Session};
use super::sessions::{Sessions, lease};
use crate::context::Context;
use crate::problem::Code;
use crate::security::{Action, Caller};
use crate::subscribing;

/// How many messages wait for the client: it takes one, and the next is made.
const RESPONSES_MAX: usize = 1;
/// When to look again whether clients hold less than they may together.
const FULL_PAUSE: Duration = Duration::from_millis(100);

pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<v1::JoinResponse, Status>> + Send>>;

/// Begins a stream: a member joins, or goes on.
pub(super) async fn begin(
    context: &Context,
    caller: Caller,
    sessions: &Arc<Sessions>,
    mut requests: Streaming<v1::JoinRequest>,
) -> Result<Responses, Status> {
    let first = tokio::time::timeout(context.limits().body_timeout, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no message came"))??;
    let (secret, session, answered, joined) = match first.and_then(|first| first.request) {
        Some(Request::Join(join)) => {
            let session = open(context, &caller, join).await?;
            let joined = v1::MemberJoined {
                session: sessions.add(session.clone()),
                lease_ms: u64::try_from(session.lease().as_millis()).unwrap_or(u64::MAX),
            };
            let secret = joined.session.clone();
            (secret, session, 0, Some(joined))
        }
        Some(Request::Resume(resume)) => {
            let found = sessions.find(&resume.session);
            let Some(session) = found.filter(|it| it.is_of(&caller)) else {
                let group = resume.group;
                return Err(status_of(&Error::Group(GroupError::Fenced { group })));
            };
            session.renew(&caller)?;
            session.received(resume.received);
            (resume.session, session, resume.answered, None)
        }
        _ => {
            let problem = "has to come first: `join` or `resume`";
            return Err(malformed(Malformed::Field {
                name: "request",
                problem,
            }));
        }
    };
    let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
    let carrier = Carrier {
        stream: session.attach(),
        changes: session.changes(),
        context: context.clone(),
        sessions: sessions.clone(),
        secret,
        session,
        requests,
        responses,
        credits: 0,
        once: false,
        repeated: 0,
        answered,
    };
    tokio::spawn(carrier.carry(joined));
    Ok(Box::pin(stream::unfold(receiver, |mut receiver| async {
        let response = receiver.recv().await?;
        Some((response, receiver))
    })))
}

async fn open(
    context: &Context,
    caller: &Caller,
    join: v1::JoinGroup,
) -> Result<Arc<Session>, Status> {
    if context.is_leaving() {
        return Err(stopping());
    }
    let wanted = join.subscription;
    let wanted = wanted.ok_or_else(|| malformed(Malformed::missing("subscription")))?;
    check(&wanted)?;
    permit::must_cover(caller, Action::Consume, &wanted.topics)?;
    let own = context.webhooks().must_not_own(&wanted.group);
    own.map_err(|refused| problem(&refused))?;
    permit::must_join(context, caller, &wanted.group).await?;
    let mut wanted = Subscription::try_from(wanted).map_err(malformed)?;
    let limits = context.limits();
    wanted.in_flight_max = wanted.in_flight_max.min(limits.deliveries_max);
    let place = context.leases().place(&wanted.group, caller.name());
    let place = place.map_err(|none| problem(&none.problem(limits, &wanted.group)))?;
    let slots = permit::stream(context, caller)?;
    let topics = wanted.topics.iter().map(|it| it.as_str().to_owned());
    let topics = topics.collect();
    let group = wanted.group.clone();
    let subscribing = context.subscriptions().subscribe(&wanted).await;
    let (subscribed, turn) = subscribing.map_err(|refused| problem(&refused))?;
    let member = within(context, context.engine().join(wanted)).await?;
    drop(turn);
    let seat = Seat {
        group,
        lease: lease(join.lease_ms, limits.lease_max),
        topics,
        member,
        place: Mutex::new(place.with(subscribed).of_stream()),
    };
    Ok(Session::start(seat, (caller.clone(), slots), context))
}

/// Refuses what nobody may subscribe to.
fn check(wanted: &v1::Subscription) -> Result<(), Status> {
    let types = wanted.filters_types || !wanted.types.is_empty();
    let types = types.then_some(wanted.types.as_slice());
    let checked = subscribing::check_group(&wanted.group)
        .and_then(|()| subscribing::check_topics(wanted.topics.len()))
        .and_then(|()| subscribing::check_types(types));
    checked.map_err(|unfit| problem(&unfit.problem(Code::InvalidParameter)))
}

/// One stream of a member.
struct Carrier {
    context: Context,
    sessions: Arc<Sessions>,
    secret: String,
    session: Arc<Session>,
    /// Which stream of the member this is.
    stream: u64,
    changes: watch::Receiver<u64>,
    requests: Streaming<v1::JoinRequest>,
    responses: mpsc::Sender<Result<v1::JoinResponse, Status>>,
    /// How many events the client takes.
    credits: usize,
    /// What is left after the next events lapses.
    once: bool,
    /// The last batch that was sent again: what the client asks for that does not have it yet.
    repeated: u64,
    /// The last commit whose answer was sent.
    answered: u64,
}

/// How a stream ends.
enum End {
    /// The member left.
    Left,
    /// The connection was cut, or the client ended the stream without a word.
    Cut,
    /// Another stream took over.
    Replaced,
    /// The server stops.
    Stopping,
    /// What the client sent means nothing.
    Refused(Status),
    /// The group has events that the client may not have: its member leaves.
    Barred(Status),
}

impl Carrier {
    async fn carry(mut self, joined: Option<v1::MemberJoined>) {
        let session = self.session.clone();
        let end = self.work(&session, joined).await;
        let last = match end {
            Err(End::Replaced) => return,
            Err(End::Cut) | Ok(()) => {
                self.sessions.cut(self.secret, &self.session, self.stream);
                return;
            }
            Err(End::Refused(status)) => {
                self.sessions.cut(self.secret, &self.session, self.stream);
                Err(status)
            }
            Err(End::Barred(status)) => {
                if let Err(error) = session.leave().await {
                    let group = session.group();
                    tracing::debug!(group, %error, "a member could not leave");
                }
                self.sessions.remove(&self.secret);
                Err(status)
            }
            Err(End::Left) => {
                let left = session.leave().await;
                self.sessions.remove(&self.secret);
                match left {
                    Ok(()) => Ok(message(Response::Left(v1::MemberLeft {}))),
                    Err(error) => Err(status_of(&error)),
                }
            }
            Err(End::Stopping) => {
                // At once: what it holds goes to others, whether the client listens or not.
                if let Err(error) = session.leave().await {
                    let group = session.group();
                    tracing::debug!(group, %error, "a member could not leave");
                }
                self.sessions.remove(&self.secret);
                Err(stopping())
            }
        };
        // A client that is gone has no use for it.
        let _ = self.responses.send(last).await;
    }

    async fn work(
        &mut self,
        session: &Session,
        joined: Option<v1::MemberJoined>,
    ) -> Result<(), End> {
        let mut permissions = self.context.security().changes();
        let mut now_and_then = tokio::time::interval(self.context.limits().heartbeat);
        // The stream before lets go when it sees that it is not the last.
        let _turn = session.turn().lock().await;
        if let Some(joined) = joined {
            self.send(Response::Joined(joined)).await?;
        }
        // What it sent last is known now.
        for batch in session.missed() {
            self.repeated = batch.batch;
            self.send(Response::Deliver(batch)).await?;
        }
        loop {
            let is_leaving = self.context.is_leaving();
            let may_leave = is_leaving && session.is_done();
            for answer in session.answers_after(self.answered) {
                self.answered = answer.number;
                self.send(Response::Commit(answer)).await?;
            }
            if may_leave {
                return Err(End::Stopping);
            }
            if is_leaving {
                // It gets nothing more, and commits what it has.
                self.credits = 0;
            }
            let (batches, count) = session.hand_out(self.credits);
            if count > 0 {
                self.credits = if self.once { 0 } else { self.credits - count };
            }
            for batch in batches {
                self.send(Response::Deliver(batch)).await?;
            }
            let room = session.room(self.credits);
            let is_full = room > 0 && self.is_full();
            let room = if is_full { 0 } else { room };
            let context = self.context.clone();
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(request)) => self.handle(session, request).await?,
                    Ok(None) => return Err(End::Cut),
                    // It would send the same again.
                    Err(status) if detail_of_status(&status).is_some() => {
                        return Err(End::Refused(status));
                    }
                    Err(_) => return Err(End::Cut),
                },
                taken = session.member().next(room), if room > 0 => match taken {
                    Ok(deliveries) => session.took(deliveries).map_err(End::Barred)?,
                    Err(error) => {
                        self.credits = 0;
                        self.send(Response::TakeRefused(detail_of(&error))).await?;
                    }
                },
                _ = self.changes.changed() => self.check_last()?,
                _ = permissions.changed() => self.renew(session)?,
                // Others commit what they hold.
                () = tokio::time::sleep(FULL_PAUSE), if is_full => {}
                // Credentials expire, too.
                _ = now_and_then.tick() => self.renew(session)?,
                () = self.responses.closed() => return Err(End::Cut),
                () = context.leaving(), if !is_leaving => {}
                () = context.drained() => return Err(End::Stopping),
            }
        }
    }

    /// Whether clients hold as much as they may together.
    fn is_full(&self) -> bool {
        let (_, bytes) = self.context.leases().held();
        bytes >= self.context.limits().deliveries_bytes_max
    }

    /// Asks again who the client is, and whether it may go on.
    fn renew(&self, session: &Session) -> Result<(), End> {
        let caller = permit::still(&self.context, &session.caller());
        caller
            .and_then(|caller| session.renew(&caller))
            .map_err(End::Refused)
    }

    fn check_last(&self) -> Result<(), End> {
        if self.session.is_carried_by(self.stream) {
            Ok(())
        } else {
            Err(End::Replaced)
        }
    }

    async fn send(&mut self, response: Response) -> Result<(), End> {
        let context = self.context.clone();
        let sent = self.responses.send(Ok(message(response)));
        let mut sent = std::pin::pin!(sent);
        loop {
            tokio::select! {
                sent = sent.as_mut() => return sent.map_err(|_| End::Cut),
                // Of an answer, which is looked for after this was sent; or of another stream.
                _ = self.changes.changed() => {
                    if !self.session.is_carried_by(self.stream) {
                        return Err(End::Replaced);
                    }
                }
                () = context.drained() => return Err(End::Stopping),
            }
        }
    }

    async fn handle(&mut self, session: &Session, request: v1::JoinRequest) -> Result<(), End> {
        match request.request {
            Some(Request::Take(take)) => {
                session.received(take.received);
                let repeated = std::mem::take(&mut self.repeated);
                if take.once && take.received < repeated {
                    // What it asks for is on its way. With more it would have events that it does not
                    // wait for, of a key perhaps that it is about to block.
                    return Ok(());
                }
                let credits = self.credits.saturating_add(take.events_max as usize);
                self.credits = credits.min(self.context.limits().deliveries_max);
                self.once = take.once;
                Ok(())
            }
            Some(Request::Stop(_)) => {
                self.credits = 0;
                Ok(())
            }
            Some(Request::Commit(commit)) => {
                let number = commit.number;
                let commit = commit.commit.unwrap_or_default();
                let taken = session.commit(&self.context, number, commit).await;
                taken.map_err(|refused| match refused {
                    Refused::Ended => End::Cut,
                    Refused::OutOfTurn { expected } => End::Refused(Status::new(
                        tonic::Code::InvalidArgument,
                        format!("the commit has the number {number}, expected was {expected}"),
                    )),
                })
            }
            Some(Request::Leave(_)) => Err(End::Left),
            Some(Request::Join(_) | Request::Resume(_)) | None => {
                let text =
                    "a stream is of one member: `take`, `stop`, `commit` or `leave` is expected";
                Err(End::Refused(Status::invalid_argument(text)))
            }
        }
    }
}

fn message(response: Response) -> v1::JoinResponse {
    v1::JoinResponse {
        response: Some(response),
    }
}
