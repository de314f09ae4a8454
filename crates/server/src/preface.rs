//! Which protocol a client speaks: HTTP/2 begins with a preface that no request of HTTP/1 begins with.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use crate::through::{Reading, Through};

/// What a connection of HTTP/2 begins with (RFC 9113, 3.4), whether it is encrypted or not.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// The one that has this name while a connection is encrypted (ALPN).
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"h2" => Some(Self::Http2),
            b"http/1.1" => Some(Self::Http1),
            _ => None,
        }
    }
}

/// A stream of which some bytes were read to find that out.
pub(crate) type Begun<S> = Through<S, Preface>;

/// These bytes, which are given before all others.
#[derive(Debug)]
pub(crate) struct Preface {
    read: [u8; PREFACE.len()],
    given: usize,
    length: usize,
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Reads as much as it takes: of a request of HTTP/1 hardly more than a byte.
    pub(crate) async fn read(mut stream: S) -> io::Result<(Self, Protocol)> {
        let mut read = [0; PREFACE.len()];
        let mut length = 0;
        let protocol = loop {
            let some = stream
                .read(read.get_mut(length..).unwrap_or_default())
                .await?;
            length += some;
            let so_far = read.get(..length).unwrap_or_default();
            if !PREFACE.starts_with(so_far) || some == 0 {
                break Protocol::Http1;
            }
            if length == PREFACE.len() {
                break Protocol::Http2;
            }
        };
        let reading = Preface {
            read,
            given: 0,
            length,
        };
        Ok((Self { stream, reading }, protocol))
    }
}

#[cfg(feature = "fuzzing")]
impl Begun<&[u8]> {
    /// Whether what is read next is these bytes.
    pub(crate) fn is_followed_by(&self, bytes: &[u8]) -> bool {
        let Preface {
            read,
            given,
            length,
        } = &self.reading;
        let read = read.get(*given..*length).unwrap_or_default();
        [read, self.stream].concat() == bytes
    }
}

impl<S: AsyncRead> Reading<S> for Preface {
    fn poll_read(
        &mut self,
        stream: Pin<&mut S>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given == self.length {
            return stream.poll_read(context, into);
        }
        let end = self.length.min(self.given + into.remaining());
        into.put_slice(self.read.get(self.given..end).unwrap_or_default());
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is found of a client that sends this piece by piece, and what is read after that.
    async fn found(sent: &[u8], piece: usize) -> (Protocol, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(piece);
        let sent = sent.to_vec();
        tokio::spawn(async move { client.write_all(&sent).await });
        let (mut begun, protocol) = Begun::read(server).await.unwrap();
        let mut read = Vec::new();
        begun.read_to_end(&mut read).await.unwrap();
        (protocol, read)
    }

    #[tokio::test]
    async fn nothing_of_what_was_read_is_lost() {
        let http2 = [PREFACE, b"frames"].concat();
        for piece in [1, 7, 64] {
            for (sent, expected) in [
                (&http2[..], Protocol::Http2),
                (b"GET / HTTP/1.1\r\n\r\n", Protocol::Http1),
                (b"POST / HTTP/1.1\r\n\r\n", Protocol::Http1),
                (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Protocol::Http1),
                (b"PRI", Protocol::Http1),
                (b"", Protocol::Http1),
            ] {
                let (protocol, read) = found(sent, piece).await;
                assert_eq!(protocol, expected, "{sent:?}");
                assert_eq!(read, sent);
            }
        }
    }
}
