//! An answer over HTTP/2 whose client has to take it: one that opens no window stops an answer and not the
//! connection, which [`Stalled`](crate::stalled::Stalled) watches.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

use crate::busy::UnderWay;

/// How much is given to the connection at a time: that the next piece is asked for is the progress that is
/// seen.
const PIECE_BYTES: usize = 16 * 1024;
/// How much of an answer the connection may keep when all else of it is gone: nothing watches over that.
const LAST_BYTES: usize = 1024;

tokio::task_local! {
    /// Of the answer that the task is about.
    static PROGRESS: Progress;
}

/// Since when an answer waits for its client, if it does.
#[derive(Clone, Debug, Default)]
struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    fn waiting_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the requests of a connection: one whose answer its client does not take for so long is reset.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    timeout: Duration,
}

impl Answering {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<F> Executor<F> for Answering
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, request: F) {
        let progress = Progress::default();
        let request = PROGRESS.scope(progress.clone(), request);
        tokio::spawn(until_stalled(request, progress, self.timeout));
    }
}

/// Completes when the answer was sent, or was not taken for so long: dropping it resets its stream.
async fn until_stalled(answer: impl Future<Output = ()>, progress: Progress, timeout: Duration) {
    let mut answer = pin!(answer);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if answer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *progress.waiting_since() else {
            return Poll::Pending;
        };
        let deadline = since + timeout;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // It was set for a piece before.
        while timer.deadline() < deadline {
            ready!(timer.as_mut().poll(context));
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(context));
        tracing::debug!("a client does not take its answer: the stream is reset");
        Poll::Ready(())
    })
    .await;
}

/// The body of an answer, whose request is under way until all of it was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    /// What the body gave and was not given on.
    rest: Bytes,
    progress: Progress,
    _under_way: UnderWay,
}

impl Answer {
    pub(crate) fn new(body: Body, under_way: UnderWay) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            progress: PROGRESS.try_with(Clone::clone).unwrap_or_default(),
            _under_way: under_way,
        }
    }

    fn piece(&mut self) -> Bytes {
        let rest = self.rest.len();
        let bytes = if rest > PIECE_BYTES {
            PIECE_BYTES
        } else if rest > LAST_BYTES {
            rest - LAST_BYTES
        } else {
            rest
        };
        self.rest.split_to(bytes)
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        *self.progress.waiting_since() = None;
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.piece();
        *self.progress.waiting_since() = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::busy::Busy;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// An answer of so many bytes, of which its client takes a piece after each of these times, and none after
    /// them; how long that goes on.
    async fn taken_after(bytes: usize, pauses: &[Duration]) -> (usize, Duration) {
        let progress = Progress::default();
        let taken = Mutex::new(0);
        let client = async {
            let body = Body::from(vec![7; bytes]);
            let mut answer = Answer::new(body, Busy::new().request());
            let mut pauses = pauses.iter();
            while let Some(frame) = answer.frame().await {
                let Some(pause) = pauses.next() else {
                    return std::future::pending().await;
                };
                tokio::time::sleep(*pause).await;
                *taken.lock().unwrap() += frame.unwrap().into_data().unwrap().len();
            }
        };
        let before = Instant::now();
        let client = PROGRESS.scope(progress.clone(), client);
        until_stalled(client, progress, TIMEOUT).await;
        let taken = *taken.lock().unwrap();
        (taken, before.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_given_up_and_one_that_is_taken_slowly_is_not() {
        let slow = TIMEOUT - Duration::from_secs(1);
        assert_eq!(
            taken_after(3 * PIECE_BYTES, &[slow; 4]).await,
            (3 * PIECE_BYTES, 4 * slow)
        );
        assert_eq!(
            taken_after(3 * PIECE_BYTES, &[slow]).await,
            (PIECE_BYTES, slow + TIMEOUT)
        );
        assert_eq!(taken_after(LAST_BYTES, &[]).await, (0, TIMEOUT));
    }

    #[tokio::test]
    async fn the_connection_keeps_little_of_an_answer_whose_body_is_gone() {
        for bytes in [
            0,
            1,
            LAST_BYTES,
            LAST_BYTES + 1,
            PIECE_BYTES,
            3 * PIECE_BYTES + 7,
        ] {
            let body = Body::from(vec![7; bytes]);
            let mut answer = Answer::new(body, Busy::new().request());
            let (mut taken, mut last) = (0, 0);
            while !hyper::body::Body::is_end_stream(&answer) {
                assert_eq!(
                    hyper::body::Body::size_hint(&answer).exact(),
                    Some((bytes - taken) as u64)
                );
                last = answer
                    .frame()
                    .await
                    .unwrap()
                    .unwrap()
                    .into_data()
                    .unwrap()
                    .len();
                taken += last;
            }
            assert_eq!(taken, bytes);
            assert!(last <= LAST_BYTES);
        }
    }
}
