//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::context::Context;
use crate::http;
use crate::security::Peer;
use crate::stalled::Stalled;

/// Serves a connection until its client closes it, is too slow or too greedy, or the server stops.
pub(crate) async fn serve<S>(context: Context, router: Router, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = context.limits();
    let stream = TokioIo::new(Stalled::new(stream, limits.stalled_timeout));
    let answer = |request: Request<Incoming>| {
        let answer = http::answer(context.clone(), router.clone(), request, &peer);
        async { Ok::<_, Infallible>(answer.await) }
    };
    let address = peer.address;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_timeout)
        .max_header_size(limits.headers_bytes_max)
        .serve_connection(stream, service_fn(answer));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = context.drained() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain_timeout, connection).await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::warn!(peer = %address, "the connection was cut: its request did not end in time");
                    Ok(())
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, %error, "the connection ended early");
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
    use crate::webhooks::Webhooks;

    /// A connection in memory, on a clock that goes on when everything waits.
    async fn connect() -> (DuplexStream, Config, watch::Sender<bool>) {
        let engine = Engine::open("memory:").await.unwrap();
        let config = Config::default();
        let (stop, draining) = watch::channel(false);
        let address = crate::DEFAULT_ADDRESS;
        let security = Security::open(&config).unwrap();
        let webhooks = Webhooks::start(&engine, &config.webhooks, &Metrics::default()).await;
        let parts = (security, Metrics::default(), Arc::new(webhooks.unwrap()));
        let context = Context::new(engine, address, &config, parts, draining);
        let router = http::router(context.clone());
        let (client, server) = tokio::io::duplex(64 * 1024);
        let peer = Peer {
            address,
            certified: None,
        };
        tokio::spawn(serve(context, router, server, peer));
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
        stop.send_replace(true);
        let (text, took) = rest(&mut client).await;
        assert_eq!(text, "");
        assert!(
            took <= config.limits.drain_timeout + Duration::from_secs(2),
            "{took:?}"
        );
    }
}
