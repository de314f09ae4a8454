//! What the remote engine asks again after a connection was cut, and what it does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ensue::engine::{Append, Schedule, SharedEngine};
use ensue::error::EngineError;
use ensue::{Codec, Envelope, Error, EventId};
use ensue_server::{Running, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::site::Site;

/// A way to `first`. Once it is to cut, what that says next is lost with its connection, and the way leads to
/// `then`.
async fn way(first: SocketAddr, then: SocketAddr, cut: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connections, mut to) = (JoinSet::new(), first);
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(carry(client, to, cut.clone()));
            to = then;
        }
    });
    address
}

async fn carry(mut client: TcpStream, server: SocketAddr, cut: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => match read {
                Ok(read @ 1..) => server.write_all(&from_client[..read]).await.unwrap(),
                _ => return,
            },
            read = server.read(&mut from_server) => match read {
                Ok(1..) if cut.swap(false, Ordering::SeqCst) => return,
                Ok(read @ 1..) => client.write_all(&from_server[..read]).await.unwrap(),
                _ => return,
            },
        }
    }
}

async fn connect(address: SocketAddr) -> SharedEngine {
    ensue::connect(&format!("ensue://{address}")).await.unwrap()
}

/// Schedules an event, and gives its name.
async fn schedule(engine: &SharedEngine) -> EventId {
    let event = Envelope::builder("orders", "t").id("later").source("/shop");
    let event = event.payload(Codec::Json, b"{}".to_vec()).build().unwrap();
    let append = Append {
        schedule: Some(Schedule::at("2100-01-01T00:00:00Z".parse().unwrap())),
        ..event.into()
    };
    engine.append(vec![append]).await.unwrap();
    EventId::new("/shop", "later")
}

async fn second_server(site: &Site) -> Running {
    let server = Server::new(site.engine.clone()).listen("127.0.0.1:0");
    server.unwrap().start().await.unwrap()
}

#[tokio::test]
async fn an_operation_whose_answer_is_lost_is_asked_again_and_answered_as_at_first() {
    let site = Site::start().await;
    let (server, cut) = (site.running.address(), Arc::new(AtomicBool::new(false)));
    let engine = connect(way(server, server, cut.clone()).await).await;
    let name = schedule(&engine).await;
    cut.store(true, Ordering::SeqCst);
    assert_eq!(engine.cancel(vec![name.clone()]).await.unwrap(), 1);
    assert!(!cut.load(Ordering::SeqCst), "nothing was cut");
    assert_eq!(engine.cancel(vec![name]).await.unwrap(), 0);
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_has_its_first_receipt() {
    let site = Site::start().await;
    let (server, cut) = (site.running.address(), Arc::new(AtomicBool::new(false)));
    let engine = connect(way(server, server, cut.clone()).await).await;
    for round in 0..20 {
        cut.store(true, Ordering::SeqCst);
        let event = Envelope::builder("orders", "t").id(round.to_string());
        let event = event.payload(Codec::Json, b"{}".to_vec()).build().unwrap();
        let appended = engine.append(vec![event.into()]).await.unwrap();
        assert!(!appended[0].is_duplicate, "{round}");
    }
    assert_eq!(site.events().await.len(), 20);
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn an_operation_whose_answer_is_lost_with_its_server_is_in_doubt_and_not_asked_again() {
    let site = Site::start().await;
    let second = second_server(&site).await;
    let cut = Arc::new(AtomicBool::new(false));
    let way = way(site.running.address(), second.address(), cut.clone()).await;
    let engine = connect(way).await;
    let name = schedule(&engine).await;
    cut.store(true, Ordering::SeqCst);
    let doubt = engine.cancel(vec![name]).await.unwrap_err();
    assert!(
        matches!(doubt, Error::Engine(EngineError::Unavailable { .. })),
        "{doubt}"
    );
    assert!(doubt.to_string().contains("may or may not"), "{doubt}");
    // An append has its ids: it is asked again, and in the log once.
    let event = Envelope::builder("orders", "t").id("e");
    let event = event.payload(Codec::Json, b"{}".to_vec()).build().unwrap();
    engine.append(vec![event.into()]).await.unwrap();
    assert_eq!(site.events().await.len(), 1);
    engine.close().await.unwrap();
    second.stop().await;
    site.end().await;
}
