//! Taking connections: no more than there may be, and all of them ended at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use futures_util::future::Either;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::connection;
use crate::context::Context;
use crate::preface::Protocol;
use crate::problem::{CONTENT_TYPE, Code, Problem};
use crate::security::{self, Peer};

/// How long to wait when a connection cannot be taken: there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many clients beyond the limit are told so at a time; others are cut off.
const REFUSALS_MAX: usize = 64;
/// How long such a client may take, and how much of its request is read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
const REFUSAL_BYTES: usize = 8 * 1024;
/// What the first record of TLS begins with: it is one of the handshake.
const HANDSHAKE: u8 = 22;
/// How many connections that wait are taken when the server stops.
const BACKLOG_MAX: usize = 4096;

/// Takes connections until the server is asked to stop, and waits until all have ended.
pub(crate) async fn serve(context: Context, listener: TcpListener, router: Router) {
    let connections_max = context.limits().connections_max;
    let slots = Arc::new(Semaphore::new(connections_max as usize));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            () = context.drained() => break,
        };
        match taken {
            Ok((stream, peer)) => take(&context, &router, (&slots, &refusals), stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    for (stream, peer) in waiting(listener) {
        take(&context, &router, (&slots, &refusals), stream, peer);
    }
    // Each connection ends in its own time. The semaphore is never closed.
    let (_, ()) = tokio::join!(slots.acquire_many(connections_max), context.leases().end());
}

/// The connections that the system has set up already: closing the listener would reset them, with the
/// requests that they have.
fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std().ok();
    // It does not wait: an empty backlog ends it with an error.
    let taken = std::iter::from_fn(move || listener.as_ref()?.accept().ok());
    taken.take(BACKLOG_MAX).filter_map(|(stream, peer)| {
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    })
}

fn take(
    context: &Context,
    router: &Router,
    (slots, refusals): (&Arc<Semaphore>, &Arc<Semaphore>),
    stream: TcpStream,
    peer: SocketAddr,
) {
    let counters = context.counters();
    let Some(counted) = context.security().connect(peer) else {
        // To tell it why would cost more than it does.
        counters.connections_refused.fetch_add(1, Relaxed);
        return;
    };
    if let Ok(slot) = slots.clone().try_acquire_owned() {
        counters.connections.fetch_add(1, Relaxed);
        counters.connections_open.fetch_add(1, Relaxed);
        // Answers are small, and waited for.
        let _ = stream.set_nodelay(true);
        let (context, router) = (context.clone(), router.clone());
        tokio::spawn(async move {
            open(context.clone(), router, stream, peer).await;
            context.counters().connections_open.fetch_sub(1, Relaxed);
            drop((slot, counted));
        });
        return;
    }
    counters.connections_refused.fetch_add(1, Relaxed);
    // Over TLS, telling why would cost a handshake.
    let can_tell = context.security().encryption().is_none();
    if can_tell && let Ok(slot) = refusals.clone().try_acquire_owned() {
        let connections_max = context.limits().connections_max;
        let problem = Problem::new(
            Code::Overloaded,
            format!(
                "the server has {connections_max} connections, the limit `connections_max`; close some, or \
                 send several requests over one"
            ),
        );
        tokio::spawn(async move {
            refuse(stream, &problem).await;
            drop(slot);
        });
    }
}

/// Encrypts a connection, if that is to be, and serves it.
async fn open(context: Context, router: Router, stream: TcpStream, address: SocketAddr) {
    let answers = security::answers(context.limits());
    let Some(encryption) = context.security().encryption() else {
        let peer = Peer {
            address,
            certified: None,
            answers,
        };
        return connection::serve(context, router, stream, peer, None).await;
    };
    let accepted = async {
        if is_plain(&stream).await? {
            return Ok(Either::Right(stream));
        }
        // The semaphore is never closed.
        let _turn = context.security().handshake().await;
        let acceptor = TlsAcceptor::from(encryption.config().clone());
        acceptor.accept(stream).await.map(Either::Left)
    };
    let accepted = tokio::time::timeout(context.limits().handshake_timeout, accepted);
    let accepted = tokio::select! {
        accepted = accepted => accepted,
        () = connection::last_words(&context) => return,
    };
    let counters = context.counters();
    match accepted {
        Ok(Ok(Either::Right(stream))) => {
            counters.handshakes_failed.fetch_add(1, Relaxed);
            tracing::debug!(peer = %address, "a client does not encrypt");
            let detail = "this port speaks TLS, and the request is not encrypted; begin the URL with `https://`, \
                          that of an engine with `ensue://…?tls=true`";
            refuse(stream, &Problem::new(Code::NotEncrypted, detail)).await;
        }
        Ok(Ok(Either::Left(stream))) => {
            let session = stream.get_ref().1;
            let certified = encryption.certified(session.peer_certificates());
            let agreed = session.alpn_protocol().and_then(Protocol::named);
            let peer = Peer {
                address,
                certified,
                answers,
            };
            connection::serve(context, router, stream, peer, agreed).await;
        }
        Ok(Err(error)) => {
            counters.handshakes_failed.fetch_add(1, Relaxed);
            tracing::debug!(peer = %address, %error, "a connection could not be encrypted");
        }
        Err(_) => {
            counters.handshakes_failed.fetch_add(1, Relaxed);
            tracing::debug!(peer = %address, "a connection was not encrypted in time");
        }
    }
}

/// Whether a client begins with something else than TLS.
async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [HANDSHAKE];
    stream.peek(&mut first).await?;
    Ok(first != [HANDSHAKE])
}

/// Tells a client why it is not served.
async fn refuse(stream: TcpStream, problem: &Problem) {
    let told = tell(stream, problem);
    // The client is gone, or too slow: there is nothing more to do for it.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, told).await;
}

async fn tell(mut stream: TcpStream, problem: &Problem) -> io::Result<()> {
    // An answer that is sent before its request was read may never reach the client.
    let mut read = [0; REFUSAL_BYTES];
    let _ = stream.read(&mut read).await?;
    let body = problem.to_json().to_string();
    let status = StatusCode::from_u16(problem.code().status()).unwrap_or_default();
    let later = match status {
        StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\n{later}connection: close\r\n\r\n",
        body.len()
    );
    // At once, for clients that look at what comes first.
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}
