//! The bytes between us and the server: TCP or TLS, connected here instead of by the AMQP library.
//!
//! The library runs a thread for every connection, hides what the server says of itself, and waits
//! for as long as a silent server likes. So it gets a stream that was connected within a deadline
//! and encrypted by the URL's certificates, that keeps the server's first words, that can be cut
//! from outside (then the thread ends, whatever it was waiting for), and that keeps the thread from
//! logging messages.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready as take};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tracing::dispatcher::{DefaultGuard, Dispatch};

use super::server_properties;
use crate::error::Result;
use crate::shared_log::{Address, Server};
use crate::socket;

/// The executor is tokio's; the reactor is ours for its type of stream alone.
pub(super) type Kit = RuntimeParts<Tokio, Wires>;

/// What the AMQP library runs on.
pub(super) fn runtime() -> Runtime<Kit> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), Wires(tokio)))
}

/// One connection, before anything was said on it.
pub(super) struct Wire {
    inner: Inner,
    scissors: Scissors,
    heard: Heard,
    is_first_frame_read: bool,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Cuts a connection, even while its stream is in use.
#[derive(Clone, Default)]
pub(super) struct Scissors(Arc<Cut>);

#[derive(Default)]
struct Cut {
    is_cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// The server's first frame, as far as it has come.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Wire {
    /// Connects, and encrypts when the URL says so.
    pub(super) async fn connect(server: &Server, address: &Address) -> Result<Self> {
        let stream = socket::open(server, address).await?;
        let inner = match &server.tls {
            None => Inner::Plain(stream),
            Some(tls) => {
                let config = socket::encryption(tls)?;
                let encrypted = socket::encrypt(&config, &address.host, stream);
                let encrypted = encrypted
                    .await
                    .map_err(|error| socket::refusal(server, &error))?;
                Inner::Tls(Box::new(encrypted))
            }
        };
        Ok(Self {
            inner,
            scissors: Scissors::default(),
            heard: Heard::default(),
            is_first_frame_read: false,
        })
    }

    pub(super) fn scissors(&self) -> Scissors {
        self.scissors.clone()
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl Scissors {
    pub(super) fn cut(&self) {
        self.0.is_cut.store(true, Ordering::SeqCst);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// A waiter has registered first, so that no cut goes by unseen.
    fn check(&self) -> io::Result<()> {
        if self.0.is_cut.load(Ordering::SeqCst) {
            Err(io::ErrorKind::ConnectionAborted.into())
        } else {
            Ok(())
        }
    }
}

impl Heard {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// Whether more of the first frame is to come.
    fn take(&self, bytes: &[u8]) -> bool {
        let mut heard = self.lock();
        heard.extend_from_slice(bytes);
        !server_properties::is_whole(&heard)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        // Bytes are whole whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static SILENCE: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Keeps the library's thread, which is the one that reads, from logging: it writes down messages
/// that came back, with all their bytes, and calls an error what our callers are told anyway.
fn silence_this_thread() {
    SILENCE.with_borrow_mut(|silence| {
        silence.get_or_insert_with(|| tracing::dispatcher::set_default(&Dispatch::none()));
    });
}

impl futures_io::AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        silence_this_thread();
        let this = self.get_mut();
        this.scissors.0.reader.register(context.waker());
        this.scissors.check()?;
        let mut buffer = ReadBuf::new(bytes);
        take!(match &mut this.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        })?;
        let read = buffer.filled();
        if !this.is_first_frame_read {
            this.is_first_frame_read = !this.heard.take(read);
        }
        Poll::Ready(Ok(read.len()))
    }
}

impl futures_io::AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.scissors.0.writer.register(context.waker());
        this.scissors.check()?;
        match &mut this.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.scissors.check()?;
        match &mut this.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.scissors.0.writer.register(context.waker());
        this.scissors.check()?;
        match &mut this.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Tokio's reactor, with [`Wire`] as its stream.
#[derive(Clone, Debug)]
pub(super) struct Wires(Tokio);

impl Reactor for Wires {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static>
    {
        // For other transports than this one.
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        // Wires are connected before the library comes to know of them.
        ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl fmt::Debug for Scissors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scissors").finish_non_exhaustive()
    }
}
