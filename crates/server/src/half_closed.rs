//! A client of HTTP/1 that ends its side of the connection behind its request, and waits for the answer (`nc -N`).
//!
//! The end of what a client sends looks like a client that is gone, which ends what is done for it. So it is kept
//! back while a request is answered, unless its body lacks something. What waits for events sees it at once: a client
//! that is gone must not be given any.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use crate::through::{Reading, Through};

/// Whether the end of what a client sends is kept back. Cloning gives the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct HalfClosed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_answering: bool,
    /// The answer has gone out as far as its body goes, and may not have been written.
    is_writing: bool,
    /// The end has come, and who reads does not know.
    is_kept: bool,
    /// The request has ended in the middle of its body.
    is_cut: bool,
    /// Who reads from the connection, and from the body of the request.
    reader: Option<Waker>,
    body: Option<Waker>,
}

impl HalfClosed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream whose end is kept back while a request is answered.
    pub(crate) fn listen<S>(&self, stream: S) -> Through<S, Self> {
        Through {
            stream,
            reading: self.clone(),
        }
    }

    /// A request begins, behind which the end `is_kept` back or not: its body, and what has to be kept until its
    /// answer has gone out.
    pub(crate) fn begin<B>(&self, body: B, is_kept: bool) -> (Asked<B>, UnderWay) {
        self.lock().is_answering = is_kept;
        let asked = Asked {
            body,
            half_closed: self.clone(),
        };
        (asked, UnderWay(self.clone()))
    }
}

impl<S: AsyncRead> Reading<S> for HalfClosed {
    fn poll_read(
        &mut self,
        stream: Pin<&mut S>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (into.filled().len(), into.remaining());
        ready!(stream.poll_read(context, into))?;
        let is_end = into.filled().len() == before && room > 0;
        let mut state = self.lock();
        if !is_end || !(state.is_answering || state.is_writing) || state.is_cut {
            return Poll::Ready(Ok(()));
        }
        state.is_kept = true;
        state.reader = Some(context.waker().clone());
        // Whoever waits for more of the body finds out whether there is any.
        if let Some(body) = state.body.take() {
            body.wake();
        }
        Poll::Pending
    }

    fn flushed(&mut self) {
        let mut state = self.lock();
        if !state.is_answering {
            state.is_writing = false;
            state.tell_reader();
        }
    }
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Asked<B> {
    body: B,
    half_closed: HalfClosed,
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Asked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            let mut state = self.half_closed.lock();
            state.body = Some(context.waker().clone());
            if state.is_kept {
                state.is_cut = true;
                state.tell_reader();
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl State {
    fn tell_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A request that is answered, until this is dropped and what is to be written is.
#[derive(Debug)]
pub(crate) struct UnderWay(HalfClosed);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        // Until that is flushed, the end would be taken for a reason to write no more.
        *state = State {
            is_writing: true,
            reader: state.reader.take(),
            ..State::default()
        };
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl Answer {
    pub(crate) fn new(body: Body, under_way: UnderWay) -> Self {
        Self {
            body,
            _under_way: under_way,
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
