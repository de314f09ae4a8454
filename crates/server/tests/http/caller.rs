//! A client of gRPC that has only the protocol.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use ensue_proto::v1;
use ensue_proto::v1::commit_answer::Outcome;
use ensue_proto::v1::engine_service_client::EngineServiceClient;
use ensue_proto::v1::join_request::Request as Ask;
use ensue_proto::v1::join_response::Response as Said;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Status, Streaming};
use tower_service::Service;

use crate::site::{PATIENCE, Site};

#[derive(Clone)]
pub(crate) struct Channel(SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

pub(crate) type Client = EngineServiceClient<Channel>;

pub(crate) async fn channel(site: &Site) -> Channel {
    channel_to(site.running.address()).await
}

async fn channel_to(address: SocketAddr) -> Channel {
    let stream = TcpStream::connect(address).await.unwrap();
    let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = shaken.unwrap();
    tokio::spawn(connection);
    Channel(sender)
}

pub(crate) async fn client(site: &Site) -> Client {
    client_of(site.running.address()).await
}

pub(crate) async fn client_of(address: SocketAddr) -> Client {
    let origin = format!("http://{address}").parse().unwrap();
    EngineServiceClient::with_origin(channel_to(address).await, origin)
}

pub(crate) fn event(id: &str, key: &str, payload: &'static [u8]) -> v1::Append {
    let event = v1::Event {
        topic: "orders".into(),
        key: key.into(),
        r#type: "order.created".into(),
        id: id.into(),
        source: "/shop".into(),
        content_type: "application/json".into(),
        payload: payload.into(),
        ..v1::Event::default()
    };
    v1::Append {
        event: Some(event),
        ..v1::Append::default()
    }
}

pub(crate) async fn publish(client: &mut Client, ids: std::ops::Range<usize>) {
    let batch = ids.map(|id| event(&id.to_string(), &format!("k{id}"), b"{}"));
    let batch = batch.collect();
    client.append(v1::AppendRequest { batch }).await.unwrap();
}

/// A stream of a member.
pub(crate) struct Member {
    requests: mpsc::Sender<v1::JoinRequest>,
    pub(crate) responses: Streaming<v1::JoinResponse>,
}

/// A call of who has this token.
pub(crate) fn of<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let header = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    request
}

impl Member {
    pub(crate) async fn open(client: &mut Client, first: Ask) -> Result<Self, Status> {
        Self::open_of(client, tonic::Request::new(()), first).await
    }

    /// The same of who makes this call.
    pub(crate) async fn open_of(
        client: &mut Client,
        call: tonic::Request<()>,
        first: Ask,
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(8);
        let request = Some(first);
        requests.send(v1::JoinRequest { request }).await.unwrap();
        let sent = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let responses = client.join(call.map(|()| sent)).await?.into_inner();
        Ok(Self {
            requests,
            responses,
        })
    }

    /// A new member, and its secret.
    pub(crate) async fn join(client: &mut Client) -> (Self, String) {
        let subscription = v1::Subscription {
            group: "g".into(),
            topics: vec!["orders".into()],
            ..v1::Subscription::default()
        };
        let join = v1::JoinGroup {
            subscription: Some(subscription),
            lease_ms: 60_000,
        };
        let mut member = Self::open(client, Ask::Join(join)).await.unwrap();
        match member.next().await {
            Said::Joined(joined) => (member, joined.session),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn resume(
        client: &mut Client,
        session: &str,
        received: u64,
        answered: u64,
    ) -> Self {
        let resume = v1::ResumeMember {
            session: session.into(),
            received,
            answered,
            group: "g".into(),
        };
        Self::open(client, Ask::Resume(resume)).await.unwrap()
    }

    pub(crate) async fn say(&self, ask: Ask) {
        let request = Some(ask);
        self.requests
            .send(v1::JoinRequest { request })
            .await
            .unwrap();
    }

    pub(crate) async fn take(&self, events_max: u32, once: bool) {
        self.say(Ask::Take(v1::TakeEvents {
            events_max,
            once,
            received: 0,
        }))
        .await;
    }

    pub(crate) async fn commit(&self, number: u64, settled: Vec<u64>) {
        let commit = Some(v1::Commit {
            settled,
            ..v1::Commit::default()
        });
        self.say(Ask::Commit(v1::CommitEvents { number, commit }))
            .await;
    }

    pub(crate) async fn next(&mut self) -> Said {
        let next = tokio::time::timeout(PATIENCE, self.responses.message());
        next.await.unwrap().unwrap().unwrap().response.unwrap()
    }

    /// The next batch: its number and the positions of its events.
    pub(crate) async fn batch(&mut self) -> (u64, Vec<u64>) {
        match self.next().await {
            Said::Deliver(batch) => {
                let deliveries = batch.deliveries.iter();
                (batch.batch, deliveries.map(|it| it.position).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The number of the next commit that is answered, which happened.
    pub(crate) async fn committed(&mut self) -> u64 {
        match self.next().await {
            Said::Commit(answer) => match answer.outcome.unwrap() {
                Outcome::Committed(_) => answer.number,
                Outcome::Refused(detail) => panic!("{detail:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}
