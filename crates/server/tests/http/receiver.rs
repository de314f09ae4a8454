//! A receiver of webhooks: a real HTTP server on loopback that keeps what it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::site::PATIENCE;

/// One request, and what it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn event(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn key(&self) -> String {
        self.event()["subject"].as_str().unwrap().to_owned()
    }
}

pub(crate) type Reply = (u16, &'static [(&'static str, &'static str)], Bytes);
type Answer = dyn FnMut(&Received) -> Reply + Send;

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Mutex<Box<Answer>>>,
    changed: watch::Sender<()>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Shared,
    task: Option<JoinHandle<()>>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| (204, &[], Bytes::new())).await
    }

    pub(crate) async fn answering(answer: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        let mut receiver = Self {
            address: "127.0.0.1:0".parse().unwrap(),
            shared: Shared {
                received: Arc::default(),
                answer: Arc::new(Mutex::new(Box::new(answer))),
                changed: watch::Sender::new(()),
            },
            task: None,
        };
        receiver.up().await;
        receiver
    }

    /// Answers in this way from now on.
    pub(crate) fn answer(&self, answer: impl FnMut(&Received) -> Reply + Send + 'static) {
        *self.shared.answer.lock().unwrap() = Box::new(answer);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Listens, where it did before.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let shared = self.shared.clone();
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let answer = move |request| answer(shared.clone(), request);
                let served = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                connections.spawn(async move {
                    let _ = served.await;
                });
            }
        }));
    }

    /// Listens no more, and cuts every connection.
    pub(crate) async fn down(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Waits until what was received is so.
    pub(crate) async fn until(&self, is: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                let received = self.received();
                if is(&received) {
                    return received;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(received) => received,
            Err(_) => panic!("only {:?}", self.received()),
        }
    }

    /// Waits for so many requests that were taken.
    pub(crate) async fn taken(&self, many: usize) -> Vec<Received> {
        let is_taken = |it: &&Received| it.status < 300;
        let received = self
            .until(|all| all.iter().filter(is_taken).count() >= many)
            .await;
        received.into_iter().filter(|it| it.status < 300).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn answer(
    shared: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let mut received = Received {
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: body.collect().await?.to_bytes(),
        status: 0,
    };
    let (status, headers, body) = shared.answer.lock().unwrap()(&received);
    received.status = status;
    shared.received.lock().unwrap().push(received);
    shared.changed.send_replace(());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    Ok(response)
}
