//! What no handler has read of a request's body over HTTP/2: it is read and dropped before the answer goes out.
//!
//! An answer that overtakes its request is lost with some clients: the stream is reset behind it, and curl before
//! 8.0 takes the reset for the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use hyper::body::{Body as _, Bytes, Frame, SizeHint};

use http_body_util::BodyExt as _;

/// How much of it is read, in bytes, for how long, and how long its client may send nothing. One that sends
/// more, or more slowly, is answered all the same.
const BYTES_MAX: u64 = 512 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The body of a request, as soon as its handler has dropped it.
#[derive(Debug)]
pub(super) struct Leftover {
    place: Place,
    /// Its client sends the body only when it is asked to.
    is_asked_for: bool,
}

type Place = Arc<Mutex<Option<Body>>>;

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    place: Place,
}

impl Leftover {
    /// The request for a handler, and what it will leave of its body.
    pub(super) fn of(request: Request) -> (Request, Self) {
        let place = Place::default();
        let leftover = Self {
            place: place.clone(),
            is_asked_for: request.headers().contains_key(header::EXPECT),
        };
        let lend = |body| {
            Body::new(Lent {
                body: Some(body),
                place,
            })
        };
        (request.map(lend), leftover)
    }

    /// Reads it and drops it, within the limit `body_timeout`.
    pub(super) async fn drain(self, body_timeout: Duration) {
        let body = self
            .place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut body) = body.filter(|_| !self.is_asked_for) else {
            return;
        };
        if body.size_hint().lower() > BYTES_MAX {
            return;
        }
        let rest = async {
            let mut read = 0;
            while read <= BYTES_MAX {
                let next = tokio::time::timeout(PAUSE_MAX, body.frame()).await;
                let Ok(Some(Ok(frame))) = next else {
                    return;
                };
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        };
        // Who is not done by then may lose the answer.
        let _ = tokio::time::timeout(TIMEOUT.min(body_timeout), rest).await;
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            // There is no more of it.
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::StreamExt as _;
    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    const BODY_TIMEOUT: Duration = Duration::from_secs(30);

    /// A request whose body comes in pieces of this many bytes, and how many bytes were read of it.
    fn request(pieces: &[usize], ends: bool) -> (Request, Arc<AtomicU64>) {
        let read = Arc::new(AtomicU64::new(0));
        let pieces = stream::iter(pieces.to_vec());
        let counted = read.clone();
        let pieces = pieces.map(move |bytes| {
            counted.fetch_add(bytes as u64, Ordering::Relaxed);
            Ok::<_, Infallible>(vec![0; bytes])
        });
        let body = match ends {
            true => Body::from_stream(pieces),
            false => Body::from_stream(pieces.chain(stream::pending())),
        };
        (Request::new(body), read)
    }

    /// How much was read when the handler took so many pieces, and how long the rest took.
    async fn drained(request: (Request, Arc<AtomicU64>), taken: usize) -> (u64, Duration) {
        let (request, read) = request;
        let (request, leftover) = Leftover::of(request);
        let mut body = request.into_body();
        for _ in 0..taken {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let began = Instant::now();
        leftover.drain(BODY_TIMEOUT).await;
        (read.load(Ordering::Relaxed), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_handler_leaves_is_read_to_its_end() {
        for taken in [0, 1, 3] {
            let found = drained(request(&[10, 20, 30], true), taken).await;
            assert_eq!(found, (60, Duration::ZERO), "{taken}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_read_than_may_be_and_for_no_longer() {
        let many = [64 * 1024; 100];
        let (read, _) = drained(request(&many, true), 0).await;
        assert!(read > BYTES_MAX && read < 2 * BYTES_MAX, "{read}");
        let (read, took) = drained(request(&[10], false), 0).await;
        assert_eq!((read, took), (10, PAUSE_MAX));
        let announced = Request::new(Body::from(vec![0; BYTES_MAX as usize + 1]));
        let unread = drained((announced, Arc::default()), 0).await;
        assert_eq!(unread, (0, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_slowly_is_left_at_the_limit_of_bodies() {
        let slow = || {
            stream::unfold((), |()| async {
                tokio::time::sleep(PAUSE_MAX / 2).await;
                Some((Ok::<_, Infallible>(vec![0_u8]), ()))
            })
        };
        for (body_timeout, expected) in [
            (BODY_TIMEOUT, TIMEOUT),
            (Duration::from_secs(1), Duration::from_secs(1)),
        ] {
            let (request, leftover) = Leftover::of(Request::new(Body::from_stream(slow())));
            drop(request);
            let began = Instant::now();
            leftover.drain(body_timeout).await;
            assert_eq!(began.elapsed(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_its_client_keeps_until_it_is_asked_for_is_left_alone() {
        let (mut asked, read) = request(&[10], true);
        asked
            .headers_mut()
            .insert(header::EXPECT, "100-continue".parse().unwrap());
        assert_eq!(drained((asked, read), 0).await, (0, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_a_handler_keeps_is_waited_for_by_no_one() {
        let (request, _) = request(&[10], false);
        let (request, leftover) = Leftover::of(request);
        let began = Instant::now();
        leftover.drain(BODY_TIMEOUT).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(request);
    }
}
