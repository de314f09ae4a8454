//! An answer that is there as a whole, and counts until its client has taken it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};

use crate::memory::Held;

/// How much is given to the connection at a time: that much it keeps by itself.
const PIECE_BYTES: usize = 64 * 1024;

/// The body of an answer in pieces: what is held is let go of with the last.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    _held: Held,
}

/// The body of an answer whose bytes are `held`.
pub(super) fn body(text: String, held: Held) -> Body {
    Body::new(Pieces {
        rest: text.into(),
        _held: held,
    })
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = PIECE_BYTES.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::memory::Budget;

    #[tokio::test]
    async fn an_answer_counts_until_its_last_piece_was_taken() {
        let budget = Budget::new(1 << 20, 1 << 20);
        let mut held = Held::default();
        let text = "x".repeat(3 * PIECE_BYTES - 1);
        assert!(budget.hold(&mut held, text.len()));
        let mut body = body(text.clone(), held);
        let mut taken = Vec::new();
        while let Some(frame) = body.frame().await {
            assert!(budget.in_use() > 0);
            taken.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert_eq!(taken, text.as_bytes());
        drop(body);
        assert_eq!(budget.in_use(), 0);
    }
}
