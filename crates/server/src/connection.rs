//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, header};
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::answering::{Answer, Answering};
use crate::busy::Busy;
use crate::context::Context;
use crate::half_closed::{self, HalfClosed};
use crate::http;
use crate::phase::Phase;
use crate::preface::{Begun, Protocol};
use crate::security::Peer;
use crate::stalled::Stalled;

/// How long a connection of HTTP/2 may have no request under way. Its clients keep one for all they do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How much of a body is read ahead, and of an answer written ahead of a client of HTTP/1, besides as much
/// as a head may have.
const AHEAD_BYTES: usize = 64 * 1024;
/// How much a client may send ahead of what is read, for one request and for all of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// How many requests of a client that were reset wait to be looked at: more are an attack.
const RESETS_MAX: usize = 64;
/// How long a connection that has said nothing is listened to when the server stops: its request may be on
/// its way.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(250);

/// Serves a connection until its client closes it, is too slow or too greedy, or the server stops; also when
/// its client does not speak the protocol that was `agreed` on.
pub(crate) async fn serve<S>(
    context: Context,
    router: Router,
    stream: S,
    peer: Peer,
    agreed: Option<Protocol>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = context.limits();
    let address = peer.address;
    let stream = Stalled::new(stream, limits.stalled_timeout);
    let begun = tokio::select! {
        begun = tokio::time::timeout(limits.headers_timeout, Begun::read(stream)) => begun,
        () = last_words(&context) => return,
    };
    let ended = match begun {
        Ok(Ok((_, Protocol::Http1))) if agreed == Some(Protocol::Http2) => {
            tracing::debug!(peer = %address, "the client agreed to HTTP/2 and speaks something else");
            return;
        }
        Ok(Ok((stream, Protocol::Http1))) => serve_http1(&context, router, stream, peer).await,
        Ok(Ok((stream, Protocol::Http2))) => serve_http2(&context, router, stream, peer).await,
        Ok(Err(error)) => {
            tracing::debug!(peer = %address, %error, "the connection ended before it said anything");
            return;
        }
        Err(_) => {
            tracing::debug!(peer = %address, "the connection says nothing");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, %error, "the connection ended early");
    }
}

/// Completes when a connection without a request is not listened to any more.
pub(crate) async fn last_words(context: &Context) {
    context.drained().await;
    tokio::time::sleep(LAST_WORDS_TIMEOUT).await;
}

async fn serve_http1<S>(
    context: &Context,
    router: Router,
    stream: S,
    peer: Peer,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = context.limits();
    let half_closed = HalfClosed::default();
    let answer = |request: Request<Incoming>| {
        let (context, router) = (context.clone(), router.clone());
        let is_kept = !http::waits_for_events(request.uri().path());
        // Before anything more is read from the connection.
        let (head, body) = request.into_parts();
        let (body, under_way) = half_closed.begin(body, is_kept);
        let request = Request::from_parts(head, body);
        let peer = &peer;
        async move {
            let mut answer = http::answer(context.clone(), router, request, peer).await;
            // The next request goes to a server that stays.
            if context.is_leaving() && !http::keeps_connection(&answer) {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(answer.map(|body| half_closed::Answer::new(body, under_way)))
        }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_timeout)
        .max_header_size(limits.headers_bytes_max)
        .max_buf_size(limits.headers_bytes_max + AHEAD_BYTES)
        .serve_connection(TokioIo::new(half_closed.listen(stream)), service_fn(answer));
    let mut connection = pin!(connection);
    let stops = async {
        if context.is_draining() {
            last_words(context).await;
        } else {
            context.drained().await;
        }
    };
    let ended = tokio::select! {
        // What has come is a request that is under way.
        biased;
        ended = connection.as_mut() => Either::Left(ready(ended)),
        () = stops => {
            connection.as_mut().graceful_shutdown();
            Either::Right(connection)
        }
    };
    rest(context, peer.address, ended).await
}

async fn serve_http2<S>(
    context: &Context,
    router: Router,
    stream: S,
    peer: Peer,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = context.limits();
    let busy = Busy::new();
    let answer = |request: Request<Incoming>| {
        let under_way = busy.request();
        let (context, router, peer) = (context.clone(), router.clone(), peer.clone());
        async move {
            let answer = http::answer(context, router, request, &peer).await;
            Ok::<_, Infallible>(answer.map(|body| Answer::new(body, under_way)))
        }
    };
    let streams_max = u32::try_from(limits.streams_max).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(Answering::new(limits.stalled_timeout))
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.heartbeat)
        .keep_alive_timeout(limits.stalled_timeout)
        .max_concurrent_streams(streams_max)
        .max_header_list_size(u32::try_from(limits.headers_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = pin!(connection);
    let stops = async {
        // One that begins while the server stops came from a client that does not know yet.
        let stops = async {
            match context.phase() {
                Phase::Serving => context.leaving().await,
                Phase::Leaving => context.drained().await,
                Phase::Draining => last_words(context).await,
            }
        };
        tokio::select! {
            () = stops => {}
            () = busy.idle(IDLE_TIMEOUT) => {}
        }
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Either::Left(ready(ended)),
        () = stops => {
            connection.as_mut().graceful_shutdown();
            Either::Right(connection)
        }
    };
    rest(context, peer.address, ended).await
}

/// Lets the requests under way end, for as long as they may.
async fn rest<C>(
    context: &Context,
    peer: SocketAddr,
    ended: Either<std::future::Ready<hyper::Result<()>>, Pin<&mut C>>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let over = async {
        if context.is_leaving() {
            context.drained().await;
        }
        tokio::time::sleep(context.limits().drain_timeout).await;
    };
    tokio::select! {
        ended = ended => ended,
        () = over => {
            tracing::warn!(%peer, "the connection was cut: its request did not end in time");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ensue::{Engine, Metrics};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::config::Config;
    use crate::security::Security;
    use crate::trace::Tracing;
    use crate::webhooks::Webhooks;

    /// A connection in memory, on a clock that goes on when everything waits.
    async fn connect() -> (DuplexStream, Config, watch::Sender<Phase>) {
        let engine = Engine::open("memory:").await.unwrap();
        let config = Config::default();
        let (stop, phases) = watch::channel(Phase::default());
        let address = crate::DEFAULT_ADDRESS;
        let security = Security::open(&config).unwrap();
        let (metrics, tracing) = (Metrics::default(), Tracing::default());
        let beside = (&metrics, &tracing);
        let webhooks = Webhooks::start(&engine, (&config.webhooks, &[]), beside).await;
        let parts = (security, metrics, Arc::new(webhooks.unwrap()), tracing);
        let context = Context::new(engine, address, &config, parts, phases);
        let router = http::router(context.clone());
        let (client, server) = tokio::io::duplex(64 * 1024);
        let peer = Peer {
            address,
            certified: None,
            answers: crate::security::answers(&config.limits),
        };
        tokio::spawn(serve(context, router, server, peer, None));
        (client, config, stop)
    }

    /// What comes until the server closes the connection, and how long that takes.
    async fn rest(client: &mut DuplexStream) -> (String, Duration) {
        let before = Instant::now();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        (text, before.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_its_headers_byte_by_byte_is_cut_off_in_time() {
        let (client, config, _stop) = connect().await;
        let (mut read, mut write) = tokio::io::split(client);
        tokio::spawn(async move {
            for byte in b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: "
                .iter()
                .cycle()
            {
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let before = Instant::now();
        let mut text = String::new();
        read.read_to_string(&mut text).await.unwrap();
        assert!(!text.contains("200 OK"), "{text}");
        assert!(before.elapsed() <= config.limits.headers_timeout + Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_idle_is_closed_in_time() {
        let (mut client, config, _stop) = connect().await;
        let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.write_all(request).await.unwrap();
        let (text, took) = rest(&mut client).await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("alive\n"),
            "{text}"
        );
        assert!(
            took <= config.limits.headers_timeout + Duration::from_secs(2),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_in_time() {
        let (mut client, config, _stop) = connect().await;
        let request = b"POST /v1/events?topic=t HTTP/1.1\r\nhost: localhost\r\n\
            content-type: application/cloudevents+json\r\ncontent-length: 100\r\n\r\n{";
        client.write_all(request).await.unwrap();
        let (text, took) = rest(&mut client).await;
        assert!(
            text.starts_with("HTTP/1.1 408") && text.contains("body_timeout"),
            "{text}"
        );
        assert!(
            took <= config.limits.body_timeout + Duration::from_secs(2),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_cut_when_the_server_has_to_stop() {
        let (mut client, config, stop) = connect().await;
        let request = b"POST /v1/events?topic=t HTTP/1.1\r\nhost: localhost\r\n\
            content-type: application/cloudevents+json\r\ncontent-length: 100\r\n\r\n{";
        client.write_all(request).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.send_replace(Phase::Draining);
        let (text, took) = rest(&mut client).await;
        assert_eq!(text, "");
        assert!(
            took <= config.limits.drain_timeout + Duration::from_secs(2),
            "{took:?}"
        );
    }

    const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_on_its_way_when_the_server_drains_is_answered() {
        let (mut client, _, stop) = connect().await;
        stop.send_replace(Phase::Draining);
        tokio::time::sleep(LAST_WORDS_TIMEOUT / 2).await;
        client.write_all(REQUEST).await.unwrap();
        let (text, _) = rest(&mut client).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains("\r\nconnection: close"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed_when_the_server_drains() {
        let (mut client, _, stop) = connect().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(Phase::Draining);
        let (text, took) = rest(&mut client).await;
        assert_eq!(text, "");
        assert!(took <= 2 * LAST_WORDS_TIMEOUT, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_sent_elsewhere_by_the_next_answer_once_the_server_is_asked_to_stop() {
        let (mut client, config, stop) = connect().await;
        stop.send_replace(Phase::Leaving);
        // Nothing happens until it asks.
        tokio::time::sleep(config.limits.headers_timeout / 2).await;
        client.write_all(REQUEST).await.unwrap();
        let (text, _) = rest(&mut client).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains("\r\nconnection: close"), "{text}");
    }
}
