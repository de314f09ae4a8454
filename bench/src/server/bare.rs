//! A bare axum handler, which does nothing durable: what HTTP itself costs here.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Outcome;

/// A server that reads bodies and forgets them, and gives the same page to everyone.
pub(super) struct Bare {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Bare {
    pub(super) async fn start(page: Bytes) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/events", post(take))
            .route("/page", get(give))
            .with_state(page);
        let task = tokio::spawn(async move {
            // Ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(body: Bytes) -> ([(&'static str, &'static str); 1], &'static str) {
    std::hint::black_box(body.len());
    (
        [("content-type", "application/json")],
        "{\"position\":\"1234567\",\"duplicate\":false}",
    )
}

async fn give(State(page): State<Bytes>) -> ([(&'static str, &'static str); 1], Bytes) {
    ([("content-type", "application/json")], page)
}
