//! Taking connections: no more than there may be, and all of them ended at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::connection;
use crate::context::Context;
use crate::problem::{CONTENT_TYPE, Code, Problem};

/// How long to wait when a connection cannot be taken: there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many clients beyond the limit are told so at a time; others are cut off.
const REFUSALS_MAX: usize = 64;
/// How long such a client may take, and how much of its request is read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
const REFUSAL_BYTES: usize = 8 * 1024;

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
    drop(listener);
    // Each connection ends in its own time. The semaphore is never closed.
    let _ = slots.acquire_many(connections_max).await;
}

fn take(
    context: &Context,
    router: &Router,
    (slots, refusals): (&Arc<Semaphore>, &Arc<Semaphore>),
    stream: TcpStream,
    peer: SocketAddr,
) {
    let counters = context.counters();
    if let Ok(slot) = slots.clone().try_acquire_owned() {
        counters.connections.fetch_add(1, Relaxed);
        // Answers are small, and waited for.
        let _ = stream.set_nodelay(true);
        let (context, router) = (context.clone(), router.clone());
        tokio::spawn(async move {
            connection::serve(context, router, stream, peer).await;
            drop(slot);
        });
        return;
    }
    counters.connections_refused.fetch_add(1, Relaxed);
    if let Ok(slot) = refusals.clone().try_acquire_owned() {
        let connections_max = context.limits().connections_max;
        tokio::spawn(async move {
            let refused = refuse(stream, connections_max);
            // The client is gone, or too slow: there is nothing more to do for it.
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refused).await;
            drop(slot);
        });
    }
}

/// Tells a client that there are too many.
async fn refuse(mut stream: TcpStream, connections_max: u32) -> io::Result<()> {
    // An answer that is sent before its request was read may never reach the client.
    let mut read = [0; REFUSAL_BYTES];
    let _ = stream.read(&mut read).await?;
    let problem = Problem::new(
        Code::Overloaded,
        format!(
            "the server has {connections_max} connections, the limit `connections_max`; close some, or \
             send several requests over one"
        ),
    );
    let body = problem.to_json().to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
