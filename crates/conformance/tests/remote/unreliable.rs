//! A network that cuts and delays connections, from a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How many connections are cut: those after them live, so that everything arrives in the end.
const CUTS_MAX: usize = 25;
/// After how many bytes, of both ways together, a connection is cut: from a piece of its preface to several
/// messages. All orders of magnitude are as likely.
const CUT_BYTES_BITS: std::ops::Range<u32> = 5..16;
/// How long a piece is held up, and how many of a hundred are.
const DELAY_MS_MAX: u64 = 15;
const DELAYED_PERCENT: u8 = 20;
const PIECE_BYTES: usize = 16 * 1024;

/// The way to a server. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Network {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Network {
    /// A way to `server`.
    pub(crate) async fn to(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, seed, cuts.clone()));
        Self {
            address,
            cuts,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, seed: u64, cuts: Arc<AtomicUsize>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let random = fastrand::Rng::with_seed(random.u64(..));
        connections.spawn(carry(client, server, random, cuts.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Carries a connection until one end closes it, or it is cut.
async fn carry(
    client: TcpStream,
    server: SocketAddr,
    mut random: fastrand::Rng,
    cuts: Arc<AtomicUsize>,
) {
    // A server that is not there is a connection that ends at once.
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let is_cut = cuts.load(Ordering::Relaxed) < CUTS_MAX;
    let bits = random.u32(CUT_BYTES_BITS);
    let bytes = random.usize(1 << bits..1 << (bits + 1));
    let left = Arc::new(AtomicUsize::new(if is_cut { bytes } else { usize::MAX }));
    let forks = [random.fork(), random.fork()];
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let [up, down] = forks;
    tokio::select! {
        () = pump(from_client, to_server, up, &left) => {}
        () = pump(from_server, to_client, down, &left) => {}
    }
    if left.load(Ordering::Relaxed) == 0 {
        cuts.fetch_add(1, Ordering::Relaxed);
    }
}

/// Carries one way until there is no more, or as many bytes as the connection has left went through.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut random: fastrand::Rng,
    left: &AtomicUsize,
) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(read @ 1..) = from.read(&mut piece).await else {
            return;
        };
        if random.u8(..100) < DELAYED_PERCENT {
            let delay = Duration::from_millis(random.u64(1..=DELAY_MS_MAX));
            tokio::time::sleep(delay).await;
        }
        let before = left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(read))
            })
            .unwrap_or_default();
        // A piece of a message may be the last that arrives.
        let passed = read.min(before);
        if to.write_all(&piece[..passed]).await.is_err() || before <= read {
            return;
        }
    }
}
