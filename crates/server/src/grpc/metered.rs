//! What clients send counts while it arrives: messages of all calls together have a limit.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Polling, Poll};

use axum::body::Body;
use axum::http::Request;
use hyper::body::{Bytes, Frame, SizeHint};
use tonic::Status;
use tower_service::Service;

use super::answer;
use crate::context::Context;
use crate::memory::Held;

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub(crate) struct Metered<S> {
    service: S,
    context: Context,
}

impl<S> Metered<S> {
    pub(super) fn new(service: S, context: Context) -> Self {
        Self { service, context }
    }
}

impl<S> Service<Request<Body>> for Metered<S>
where
    S: Service<Request<Arriving>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, polling: &mut Polling<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(polling)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let context = self.context.clone();
        let request = request.map(|body| Arriving {
            body,
            context,
            held: Held::default(),
            message: Message::default(),
        });
        self.service.call(request)
    }
}

/// What arrives of a request.
#[derive(Debug)]
pub(crate) struct Arriving {
    body: Body,
    context: Context,
    held: Held,
    message: Message,
}

/// How much of a message is still to come: five bytes say how long it is.
#[derive(Debug, Default)]
struct Message {
    head: [u8; 5],
    head_bytes: usize,
    rest: usize,
}

impl Message {
    /// Takes what arrived; says how much of it belongs to a message that is not there as a whole.
    fn arrived(&mut self, mut data: &[u8]) -> Partial {
        let mut partial = Partial {
            bytes: data.len(),
            is_new: false,
        };
        while !data.is_empty() {
            if self.rest > 0 {
                let some = self.rest.min(data.len());
                self.rest -= some;
                data = data.get(some..).unwrap_or_default();
            } else if let Some((first, others)) = data.split_first() {
                if let Some(byte) = self.head.get_mut(self.head_bytes) {
                    *byte = *first;
                }
                self.head_bytes += 1;
                data = others;
                if self.head_bytes == self.head.len() {
                    let [_, length @ ..] = self.head;
                    self.rest = u32::from_be_bytes(length) as usize;
                    self.head_bytes = 0;
                }
            }
            if self.rest == 0 && self.head_bytes == 0 {
                partial = Partial {
                    bytes: data.len(),
                    is_new: true,
                };
            }
        }
        partial
    }
}

/// How much of a message that is not there as a whole came with a piece.
#[derive(Debug, PartialEq, Eq)]
struct Partial {
    bytes: usize,
    /// The messages before it are there.
    is_new: bool,
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        polling: &mut Polling<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(polling) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => {
                let text = format!("the connection was cut: {error}");
                return Poll::Ready(Some(Err(Status::cancelled(text))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        if let Some(data) = frame.data_ref() {
            let partial = this.message.arrived(data);
            if partial.is_new {
                this.held = Held::default();
            }
            if !this.context.bodies().hold(&mut this.held, partial.bytes) {
                return Poll::Ready(Some(Err(answer::problem(&answer::no_room()))));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
        message.extend(std::iter::repeat_n(7, bytes));
        message
    }

    #[test]
    fn what_counts_is_the_message_that_is_not_there_as_a_whole() {
        let stream = [message(3), message(0), message(300), message(10)].concat();
        let ends = [8, 13, 318, 333];
        for size in 1..stream.len() {
            let mut messages = Message::default();
            let (mut counted, mut arrived) = (0, 0);
            for piece in stream.chunks(size) {
                let partial = messages.arrived(piece);
                arrived += piece.len();
                counted = if partial.is_new { 0 } else { counted } + partial.bytes;
                let whole = ends.iter().filter(|end| **end <= arrived).max();
                assert_eq!(counted, arrived - whole.unwrap_or(&0), "{size} {arrived}");
            }
        }
    }
}
