//! Taking connections: no more than there may be, none that says nothing for long.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::http::{Peer, timed_out};

/// How many connections there are at a time; more wait in the system's queue.
pub const CONNECTIONS_MAX: u32 = 2_048;
/// How long a client may take to encrypt a connection.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to say what it wants, also after a request before.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long an answer may take, the body of its request included.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait when a connection cannot be taken: there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` completes, and then what is under way.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let acceptor = TlsAcceptor::from(config);
    let (stopping, stopped) = watch::channel(false);
    let taking = async {
        // The semaphore is never closed.
        while let Ok(slot) = slots.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (acceptor, router) = (acceptor.clone(), router.clone());
                    let stopped = stopped.clone();
                    tokio::spawn(async move {
                        open(acceptor, router, stream, peer, stopped).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = taking => {}
        () = stop => {}
    }
    stopping.send_replace(true);
    // Each connection ends after the answer at hand.
    let ended = slots.acquire_many(CONNECTIONS_MAX);
    let _ = tokio::time::timeout(ANSWER_WITHIN, ended).await;
}

/// Encrypts a connection and serves it.
async fn open(
    acceptor: TlsAcceptor,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small, and waited for.
    let _ = stream.set_nodelay(true);
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)) => accepted,
        _ = stopped.wait_for(|it| *it) => return,
    };
    let Ok(Ok(stream)) = accepted else {
        tracing::debug!(%peer, "a connection was not encrypted");
        return;
    };
    let answer = service_fn(move |request| answer(router.clone(), peer, request));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|it| *it) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

async fn answer(
    mut router: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let answered = tokio::time::timeout(ANSWER_WITHIN, router.call(request));
    match answered.await {
        Ok(answered) => answered,
        Err(_) => Ok(timed_out()),
    }
}
