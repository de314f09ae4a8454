//! What clients send counts while it arrives: messages of all calls together have a limit, and each has its
//! time. What its caller may not ask for at all is refused before.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context as Polling, Poll};

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::future::Either;
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tower_service::Service;

use super::answer;
use super::layout::Part;
use super::method::{self, Method};
use super::walk::{Unfit, Walk};
use crate::context::Context;
use crate::memory::Held;
use crate::problem::{Code, Problem};
use crate::security::Caller;

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

type Answer = Response<tonic::body::Body>;

impl<S> Service<Request<Body>> for Metered<S>
where
    S: Service<Request<Arriving>, Response = Answer, Error = Infallible>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Either<Ready<Result<Answer, Infallible>>, S::Future>;

    fn poll_ready(&mut self, polling: &mut Polling<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(polling)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = method::at(request.uri().path());
        // One who came past the door may do nothing.
        let caller = request.extensions().get::<Caller>();
        let entered = caller.map(|caller| caller.enter(method.access));
        if let Some(Err(refused)) = entered {
            let refused = answer::problem(&refused);
            return Either::Left(ready(Ok(refused.into_http())));
        }
        let arriving = |body| Arriving::new(body, method, self.context.clone());
        Either::Right(self.service.call(request.map(arriving)))
    }
}

/// What arrives of a request.
#[derive(Debug)]
pub(crate) struct Arriving {
    body: Body,
    method: &'static Method,
    context: Context,
    held: Held,
    message: Message,
    /// When what is under way has to be there: the message, or all of a call that has but one.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The bytes that come before a message: whether it is compressed, and how long it is.
const HEAD_BYTES: usize = 5;

/// How much of a message is still to come.
#[derive(Debug, Default)]
struct Message {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    rest: usize,
    /// `None` of one that is compressed, which is not decoded.
    walk: Option<Walk>,
}

/// What came with a piece, in bytes, with what it takes in memory once it is decoded.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    /// Of messages that are there as a whole now.
    whole: usize,
    /// Of one that is not.
    partial: usize,
}

/// Why a message does not go on.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    TooLarge(usize),
    Unfit(Unfit),
}

impl Message {
    /// Takes what arrived.
    fn arrived(&mut self, mut data: &[u8], method: &'static Method) -> Result<Came, Refused> {
        let mut came = Came::default();
        while !data.is_empty() {
            if self.rest > 0 {
                let (some, others) = data.split_at(self.rest.min(data.len()));
                came.partial += some.len() + self.walk(some)?;
                self.rest -= some.len();
                data = others;
            } else if let Some((first, others)) = data.split_first() {
                if let Some(byte) = self.head.get_mut(self.head_bytes) {
                    *byte = *first;
                }
                self.head_bytes += 1;
                came.partial += 1;
                data = others;
                if self.head_bytes == HEAD_BYTES {
                    self.begin(method)?;
                }
            }
            if !self.is_under_way() {
                came.whole += std::mem::take(&mut came.partial);
            }
        }
        Ok(came)
    }

    fn begin(&mut self, method: &'static Method) -> Result<(), Refused> {
        let [compressed, length @ ..] = self.head;
        self.rest = u32::from_be_bytes(length) as usize;
        self.head_bytes = 0;
        if self.rest > method.bytes_max {
            return Err(Refused::TooLarge(self.rest));
        }
        self.walk = (compressed == 0).then(|| Walk::new(method.layout, self.rest));
        Ok(())
    }

    /// Goes over a piece of the message; gives how much more it takes in memory.
    fn walk(&mut self, data: &[u8]) -> Result<usize, Refused> {
        let Some(walk) = &mut self.walk else {
            return Ok(0);
        };
        let before = walk.weight();
        walk.read(data).map_err(Refused::Unfit)?;
        Ok(walk.weight() - before)
    }

    /// Whether some of a message is there, and not all.
    fn is_under_way(&self) -> bool {
        self.rest > 0 || self.head_bytes > 0
    }
}

impl Refused {
    fn problem(self, method: &Method) -> Problem {
        match self {
            Self::TooLarge(bytes) => {
                let max = method.bytes_max;
                let detail = format!(
                    "the message has {bytes} bytes; one of this call has {max} at the most: send less \
                     at a time"
                );
                Problem::new(Code::BodyTooLarge, detail).with("max", max.into())
            }
            Self::Unfit(Unfit::TooMany(part)) => too_many(part),
            Self::Unfit(Unfit::Malformed) => Problem::new(
                Code::InvalidBody,
                "the message cannot be read: it is not of `ensue.v1`",
            ),
        }
    }
}

fn too_many(part: Part) -> Problem {
    let (name, max) = (part.name(), part.max());
    let detail = format!("the message has more than {max} {name}; send fewer at a time");
    Problem::new(Code::BatchTooLarge, detail).with("max", max.into())
}

impl Arriving {
    fn new(body: Body, method: &'static Method, context: Context) -> Self {
        let mut arriving = Self {
            body,
            method,
            context,
            held: Held::default(),
            message: Message::default(),
            deadline: None,
        };
        arriving.begin_deadline();
        arriving
    }

    fn begin_deadline(&mut self) {
        let timeout = self.context.limits().body_timeout;
        self.deadline = Some(Box::pin(tokio::time::sleep(timeout)));
    }

    fn arrived(&mut self, data: &[u8]) -> Result<(), Problem> {
        let came = self.message.arrived(data, self.method);
        let came = came.map_err(|refused| refused.problem(self.method))?;
        let mut bytes = came.partial;
        if !self.method.is_stream {
            // Kept until the end of the call's only message is there: it is not answered before.
            bytes += came.whole;
        } else if came.whole > 0 {
            self.held = Held::default();
            self.deadline = None;
        }
        if self.message.is_under_way() && self.deadline.is_none() {
            self.begin_deadline();
        }
        if self.context.bodies().hold(&mut self.held, bytes) {
            return Ok(());
        }
        Err(answer::no_room())
    }

    /// Completes when something that has begun takes too long.
    fn poll_deadline(&mut self, polling: &mut Polling<'_>) -> Poll<Problem> {
        let Some(deadline) = &mut self.deadline else {
            return Poll::Pending;
        };
        let timeout = self.context.limits().body_timeout;
        deadline.as_mut().poll(polling).map(|()| {
            let detail = format!(
                "the message did not arrive within {timeout:?}, the limit `body_timeout`; send less at a \
                 time"
            );
            Problem::new(Code::BodyTimeout, detail)
        })
    }
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
            Poll::Pending => {
                let late = this.poll_deadline(polling);
                return late.map(|late| Some(Err(answer::problem(&late))));
            }
        };
        if let Some(data) = frame.data_ref()
            && let Err(refused) = this.arrived(data)
        {
            return Poll::Ready(Some(Err(answer::problem(&refused))));
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
        // Of a call whose messages are not looked into.
        let method = method::at("/Nothing");
        let mut stream = [message(3), message(0), message(300), message(10)].concat();
        let ends = [8, 13, 318, 333];
        for begin in [0, 8, 13, 318] {
            stream[begin] = 1;
        }
        for size in 1..stream.len() {
            let mut messages = Message::default();
            let (mut counted, mut arrived) = (0, 0);
            for piece in stream.chunks(size) {
                let came = messages.arrived(piece, method).unwrap();
                arrived += piece.len();
                assert_eq!(came.whole + came.partial, piece.len());
                counted = if came.whole > 0 { 0 } else { counted } + came.partial;
                let whole = ends.iter().filter(|end| **end <= arrived).max();
                assert_eq!(counted, arrived - whole.unwrap_or(&0), "{size} {arrived}");
            }
        }
    }
}
