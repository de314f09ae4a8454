//! A TCP proxy that does to connections what networks do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    /// Every piece of them, in either direction, waits for up to this long.
    Slow(Duration),
    /// They stay where they are: connections stay open, and nothing is sent.
    Silent,
}

/// Ends with what it carries when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    hands: Arc<Hands>,
    listener: JoinHandle<()>,
}

struct Hands {
    weather: watch::Sender<Weather>,
    /// Counts up: connections that were there before end, wherever in a message they are.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub(super) async fn start(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hands = Arc::new(Hands {
            weather: watch::Sender::new(Weather::Fair),
            cuts: watch::Sender::new(0),
        });
        let carrying = hands.clone();
        let listener = tokio::spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(carry(client, server.clone(), carrying.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            hands,
            listener,
        }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn set(&self, weather: Weather) {
        self.hands.weather.send_replace(weather);
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.hands.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn carry(client: TcpStream, server: String, hands: Arc<Hands>) {
    let mut cuts = hands.cuts.subscribe();
    let carried = async {
        let Ok(server) = TcpStream::connect(server).await else {
            return;
        };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = copy(from_client, to_server, &hands) => {}
            () = copy(from_server, to_client, &hands) => {}
        }
    };
    tokio::select! {
        () = carried => {}
        _ = cuts.changed() => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, hands: &Hands) {
    let mut weather = hands.weather.subscribe();
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        let now = *weather.borrow_and_update();
        if let Weather::Slow(delay_max) = now {
            tokio::time::sleep(delay_max.mul_f64(fastrand::f64())).await;
        }
        let waited = weather.wait_for(|weather| *weather != Weather::Silent);
        if waited.await.map(drop).is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
