//! Restate's durable ingress: an invocation is accepted when it is in its log.
//!
//! The service that is invoked never answers, and there are few objects, whose invocations wait for
//! one another: what is measured is accepting them, not running them, which favours Restate.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use servers::Running;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::connection::{Connection, post as request};
use super::ingest::{Numbers, cloudevent};
use crate::Outcome;
use crate::load::Worker;

/// Objects whose invocations queue: enough for every partition to have some.
const OBJECTS: u64 = 256;
const MANIFEST_TYPE: &str = "application/vnd.restate.endpointmanifest.v1+json";

/// A Restate server at which a service is registered.
pub(super) struct Restate {
    address: SocketAddr,
    /// A name of its own: objects of earlier runs have long queues.
    service: Arc<str>,
    task: JoinHandle<()>,
}

impl Restate {
    pub(super) async fn register(server: &Running) -> Outcome<Self> {
        let (address, admin) = addresses(&server.url)?;
        let service: Arc<str> = format!("Readings{}", std::process::id()).into();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let own = listener.local_addr()?;
        let router = Router::new()
            .route("/discover", get(discover))
            .route(
                "/invoke/{service}/{handler}",
                post(std::future::pending::<()>),
            )
            .with_state(service.clone());
        let task = tokio::spawn(async move {
            // Ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        let registered = Self {
            address,
            service,
            task,
        };
        let body = format!("{{\"uri\":\"http://{own}\",\"use_http_11\":true}}");
        let mut connection = Connection::open(admin).await?;
        let deploy = request("/deployments", "application/json", &body);
        connection.exchange(&deploy).await?;
        Ok(registered)
    }

    pub(super) async fn client(&self, numbers: &Numbers) -> Outcome<OverRestate> {
        Ok(OverRestate {
            connection: Connection::open(self.address).await?,
            service: self.service.clone(),
            numbers: numbers.clone(),
        })
    }
}

impl Drop for Restate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where invocations go, and where services are registered, as `servers` writes it:
/// `http://127.0.0.1:8080/?admin=9070`.
fn addresses(url: &str) -> Outcome<(SocketAddr, SocketAddr)> {
    let parts = url
        .strip_prefix("http://")
        .and_then(|it| it.split_once("/?admin="));
    let (ingress, admin) =
        parts.ok_or_else(|| format!("`{url}` names no port of Restate's administration"))?;
    let ingress: SocketAddr = ingress.parse()?;
    Ok((ingress, SocketAddr::new(ingress.ip(), admin.parse()?)))
}

async fn discover(State(service): State<Arc<str>>) -> ([(&'static str, &'static str); 1], String) {
    let manifest = format!(
        "{{\"protocolMode\":\"REQUEST_RESPONSE\",\"minProtocolVersion\":5,\"maxProtocolVersion\":5,\
         \"services\":[{{\"name\":\"{service}\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{{\"name\":\"take\",\
         \"ty\":\"EXCLUSIVE\"}}]}}]}}"
    );
    ([("content-type", MANIFEST_TYPE)], manifest)
}

/// Sends invocations, one after the other, without waiting for their results.
pub(super) struct OverRestate {
    connection: Connection,
    service: Arc<str>,
    numbers: Numbers,
}

impl Worker for OverRestate {
    async fn step(&mut self) -> Outcome<usize> {
        let number = self.numbers.next();
        let path = format!("/{}/device-{}/take/send", self.service, number % OBJECTS);
        let invocation = request(&path, "application/cloudevents+json", &cloudevent(number));
        self.connection.exchange(&invocation).await?;
        Ok(1)
    }
}
