//! What a server says first: whether it speaks HTTP/2 at all, and encrypted or not.
//!
//! A port that is another's, or is encrypted where the URL does not say so, stays what it is: trying again
//! until a deadline would only hide that.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much of it is looked at, in bytes: the head of an answer of HTTP/1, and a part of its body.
const BYTES_MAX: usize = 2048;
/// The head of a frame of HTTP/2, and where its type is. The first frame is one of settings (RFC 9113, 3.4).
const FRAME_HEAD: usize = 9;
const FRAME_TYPE: usize = 3;
const SETTINGS: u8 = 4;
/// An alert of TLS (RFC 8446, 5.1): its type, and the first byte of its version.
const ALERT: [u8; 2] = [21, 3];
/// What servers with TLS say to a client without: ours, and nginx.
const ENCRYPTED: [&[u8]; 2] = [b"not_encrypted", b"HTTPS port"];

/// What a server is, if it is none that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It encrypts, and the URL does not say so.
    Encrypted,
    /// It speaks HTTP/1 alone.
    Http1,
    /// It speaks something else.
    Other,
}

impl Stranger {
    /// Why it cannot be used, and what to do.
    pub(crate) fn reason(self) -> (&'static str, &'static str) {
        match self {
            Self::Encrypted => (
                "it speaks TLS, and the URL does not ask for it",
                "add the option `tls=true`, and `ca=FILE` where the system does not trust its authority",
            ),
            Self::Http1 => (
                "what answers there speaks HTTP/1 alone, and Ensue does not",
                "give the address of `ensue serve`; one with TLS needs the option `tls=true`",
            ),
            Self::Other => (
                "what answers there is not Ensue",
                "give the address of `ensue serve`, which is 127.0.0.1:3678 unless it was told otherwise",
            ),
        }
    }
}

/// The first bytes of a server. Cloning gives the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting(Arc<Mutex<Vec<u8>>>);

impl Greeting {
    /// What the server is, as far as it has said; nothing of one that is meant, or has said nothing.
    pub(crate) fn stranger(&self) -> Option<Stranger> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |part: &[u8]| said.windows(part.len()).any(|it| it == part);
        if said.is_empty() {
            None
        } else if said.starts_with(&ALERT) || ENCRYPTED.iter().any(|part| has(part)) {
            Some(Stranger::Encrypted)
        } else if said.starts_with(b"HTTP/1") {
            Some(Stranger::Http1)
        } else if said.get(FRAME_TYPE).is_some_and(|it| *it != SETTINGS) {
            Some(Stranger::Other)
        } else {
            None
        }
    }

    fn add(&self, read: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_http2 = said.len() >= FRAME_HEAD && said.get(FRAME_TYPE) == Some(&SETTINGS);
        if !is_http2 {
            let room = BYTES_MAX.saturating_sub(said.len());
            said.extend(read.iter().take(room));
        }
    }
}

/// A stream whose first bytes are looked at.
pub(crate) struct Greeted<S> {
    stream: S,
    greeting: Greeting,
}

impl<S> Greeted<S> {
    pub(crate) fn new(stream: S) -> (Self, Greeting) {
        let greeting = Greeting::default();
        let greeted = Self {
            stream,
            greeting: greeting.clone(),
        };
        (greeted, greeting)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        let read = into.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            self.greeting.add(read);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_first_bytes() {
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        for (said, expected) in [
            (&settings[..], None),
            (&settings[..4], None),
            (&[][..], None),
            (&[21, 3, 3, 0, 2, 2, 70], Some(Stranger::Encrypted)),
            (
                b"HTTP/1.1 400 Bad Request\r\n\r\n{\"code\":\"not_encrypted\"}",
                Some(Stranger::Encrypted),
            ),
            (b"HTTP/1.1 400 Bad Request\r\n", Some(Stranger::Http1)),
            (b"-ERR unknown command 'PRI'\r\n", Some(Stranger::Other)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Stranger::Other)),
        ] {
            for piece in [1, 4, said.len().max(1)] {
                let greeting = Greeting::default();
                said.chunks(piece).for_each(|read| greeting.add(read));
                assert_eq!(greeting.stranger(), expected, "{said:?}");
            }
        }
    }

    #[test]
    fn of_a_server_that_is_meant_no_more_is_kept_than_says_so() {
        let greeting = Greeting::default();
        greeting.add(&[0, 0, 18, 4, 0, 0, 0, 0, 0]);
        greeting.add(b"not_encrypted");
        assert_eq!(greeting.stranger(), None);
        let greeting = Greeting::default();
        greeting.add(&[b'x'; 3 * BYTES_MAX]);
        assert_eq!(greeting.0.lock().unwrap().len(), BYTES_MAX);
    }
}
