use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::error::{EngineError, OpenError};
use crate::tests::{shared, shared_log_tests};

shared_log_tests!(rabbitmq, connect);

const SERVICE: &str = "rabbitmq";
const MUCH: usize = 1024 * 1024;

fn connecting(url: Url) -> BoxFuture<'static, Result<Arc<dyn SharedLog>>> {
    Box::pin(connect(url))
}

async fn refusal(url: &str) -> Error {
    connect(Url::parse(url).unwrap()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_may_not_log_in_is_told_why() {
    shared(SERVICE, connecting, async |bed| {
        let wrong = bed.url().replace(":guest@", ":hunter2@");
        for (url, part) in [
            (wrong, "check user and password"),
            (bed.url().replace('?', "/nowhere?"), "virtual host"),
        ] {
            let error = refusal(&url).await;
            assert!(
                matches!(error, Error::Open(OpenError::Unfit { .. })),
                "{error:?}"
            );
            let said = format!("{error} {error:?}");
            assert!(said.contains(part) && !said.contains("hunter2"), "{said}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_queue_is_refused() {
    shared(SERVICE, connecting, async |bed| {
        let url = Url::parse(&bed.url()).unwrap();
        let mut server = Server::of(&url, PORT).unwrap();
        server.namespace.push_str("-classic");
        let queue = format!("ensue.{}.log", server.namespace);
        let link = Link::open(&server, soon()).await.unwrap();
        let channel = link.channel(&server, soon()).await.unwrap();
        let options = QueueDeclareOptions::durable();
        let declaring =
            channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        declaring.await.unwrap();

        let error = refusal(&format!("{}-classic", bed.url())).await;
        assert!(
            matches!(error, Error::Open(OpenError::Unfit { .. })),
            "{error:?}"
        );
        let deleting = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
        deleting.await.unwrap();
        link.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_removed_is_not_taken_for_its_successor() {
    shared(SERVICE, connecting, async |bed| {
        let open = async || connect(Url::parse(&bed.url()).unwrap()).await.unwrap();
        let old = open().await;
        old.append(vec![Bytes::from_static(b"old")]).await.unwrap();
        let read = old.read(0, MUCH, link::FAREWELL).await.unwrap();
        assert_eq!(read.len(), 1);
        let next = read[0].sequence + 1;

        open().await.remove().await.unwrap();
        let removed = loop {
            match old.read(next, MUCH, link::FAREWELL).await {
                // It may be told at once, or find out when it connects again.
                Ok(_) | Err(Error::Engine(EngineError::Unavailable { .. })) => {}
                Err(error) => break error,
            }
        };
        assert!(
            matches!(removed, Error::Engine(EngineError::Corrupt(_))),
            "{removed:?}"
        );
        assert!(matches!(
            old.end().await,
            Err(Error::Engine(EngineError::Corrupt(_)))
        ));

        let new = open().await;
        new.append(vec![Bytes::from_static(b"new"); 3])
            .await
            .unwrap();
        let replaced = old.read(next, MUCH, link::FAREWELL).await.unwrap_err();
        assert!(
            matches!(replaced, Error::Engine(EngineError::Corrupt(_))),
            "{replaced:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_that_begins_a_log_is_not_read() {
    shared(SERVICE, connecting, async |bed| {
        let url = Url::parse(&bed.url()).unwrap();
        let server = Server::of(&url, PORT).unwrap();
        let queue = format!("ensue.{}.log", server.namespace);
        let log = connect(url).await.unwrap();
        let link = Link::open(&server, soon()).await.unwrap();
        // As if many had found it empty at once.
        for _ in 0..3 {
            first_message::append(&link, &server, &queue, soon())
                .await
                .unwrap();
        }
        assert_eq!(log.end().await.unwrap(), 0);
        log.append(vec![Bytes::from_static(b"first")])
            .await
            .unwrap();
        let end = log.end().await.unwrap();
        first_message::append(&link, &server, &queue, soon())
            .await
            .unwrap();
        // One that was late: the newest message is still the one before it.
        assert_eq!(log.end().await.unwrap(), end);
        log.append(vec![Bytes::new()]).await.unwrap();
        let mut bodies = Vec::new();
        let mut next = 0;
        while bodies.len() < 2 {
            for message in log.read(next, MUCH, link::ANSWER).await.unwrap() {
                next = message.sequence + 1;
                bodies.push(message.body);
            }
        }
        assert_eq!(bodies, ["first", ""]);
        assert_eq!(log.end().await.unwrap(), next);
        link.close().await;
    })
    .await;
}

/// The library's thread would keep its connection, and wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_keeps_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("amqp://{address}");
    let (refused, (mut accepted, _)) =
        tokio::join!(refusal(&url), async { listener.accept().await.unwrap() });
    assert!(
        matches!(refused, Error::Engine(EngineError::Unavailable { .. })),
        "{refused:?}"
    );
    let mut heard = Vec::new();
    let ended = accepted.read_to_end(&mut heard);
    tokio::time::timeout(link::ANSWER, ended)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(heard, b"AMQP\x00\x00\x09\x01");
}

#[test]
fn the_properties_of_a_server_are_read() {
    let entry = |name: &str, value: &str| {
        let mut entry = vec![name.len() as u8];
        entry.extend(name.as_bytes());
        entry.push(b'S');
        entry.extend((value.len() as u32).to_be_bytes());
        entry.extend(value.as_bytes());
        entry
    };
    let table = [
        entry("product", "RabbitMQ"),
        entry("version", "3.10.8"),
        entry("cluster_name", "rabbit@home"),
    ];
    let table = table.concat();
    let mut method = vec![0, 10, 0, 10, 0, 9];
    method.extend((table.len() as u32).to_be_bytes());
    method.extend(table);
    let mut heard = vec![1, 0, 0];
    heard.extend((method.len() as u32).to_be_bytes());
    heard.extend(method);

    let properties = ServerProperties::of(&heard).unwrap();
    assert_eq!(properties.product, "RabbitMQ");
    assert_eq!(properties.cluster, "rabbit@home");
    assert_eq!(properties.release(), Some((3, 10)));
    for length in 0..heard.len() {
        assert!(!server_properties::is_whole(&heard[..length]));
        assert_eq!(ServerProperties::of(&heard[..length]), None);
    }
    assert!(server_properties::is_whole(&heard));
    assert_eq!(
        ServerProperties::of(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        None
    );
}

#[test]
fn old_releases_and_other_servers_are_refused() {
    let url = Url::parse("amqp://host").unwrap();
    let server = Server::of(&url, PORT).unwrap();
    let check = |product: &str, version: &str| {
        let properties = ServerProperties {
            product: product.to_owned(),
            version: version.to_owned(),
            ..ServerProperties::default()
        };
        check_version(&server, &properties).is_ok()
    };
    assert!(check("RabbitMQ", "3.10.8") && check("RabbitMQ", "4.1.0"));
    assert!(!check("RabbitMQ", "3.9.29") && !check("Qpid", "9.0.0"));
}

#[test]
fn replicas_are_a_number() {
    let replicas = |text: &str| replicas_of(&Url::parse(text).unwrap());
    assert_eq!(replicas("amqp://host").unwrap(), None);
    assert_eq!(replicas("amqp://host?replicas=3").unwrap(), Some(3));
    assert!(replicas("amqp://host?replicas=0").is_err());
    assert!(replicas("amqp://host?replicas=all").is_err());
}
