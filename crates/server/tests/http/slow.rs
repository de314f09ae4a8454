//! Clients that are slow to take what they asked for, or to send what they began.

use ensue_server::Config;
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::Client;
use crate::site::{PATIENCE, Site, event};

const MIB: usize = 1024 * 1024;
/// How many large events there are: as many as fit into one answer.
const LARGE: usize = 7;
const SLOW: usize = 4;

/// A server that may hold little, and a log with large events in `large` and small ones in `small`.
async fn site(change: impl FnOnce(&mut Config)) -> Site {
    let mut config = Config::default();
    config.limits.body_bytes_max = 2 * MIB;
    config.limits.bodies_bytes_max = 16 * MIB;
    change(&mut config);
    let site = Site::with(config).await;
    let mut client = site.client().await;
    let payload = "x".repeat(MIB);
    for id in 0..LARGE {
        let large = event(
            &id.to_string(),
            &format!(r#","topic":"large","data":"{payload}""#),
        );
        client.event("/v1/events", large).await.ok();
        let small = event(&format!("s-{id}"), r#","topic":"small""#);
        client.event("/v1/events", small).await.ok();
    }
    site
}

/// Asks for all large events, reads the head of the answer, and nothing more.
async fn reader(site: &Site) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(site.running.address()).await.unwrap();
    let request = b"GET /v1/events?topic=large HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    (stream, head)
}

async fn metric(client: &mut Client, name: &str) -> usize {
    let metrics = client.get("/metrics").await;
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn clients_that_do_not_take_their_pages_stop_no_one_who_appends() {
    let site = site(|_| {}).await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(reader(&site).await);
    }
    let mut client = site.client().await;
    let large = format!(r#","topic":"t","data":"{}""#, "x".repeat(MIB));
    client.event("/v1/events", event("1", &large)).await.ok();
    client
        .event("/v1/events", event("2", r#","topic":"t""#))
        .await
        .ok();
    let is_whole =
        |head: &String| head.starts_with("HTTP/1.1 200") && head.contains("ensue-end: true");
    assert!(slow.iter().all(|(_, head)| is_whole(head)));
    site.end_at_once().await;
}

#[tokio::test]
async fn pages_are_short_while_there_is_little_room_for_answers() {
    let site = site(|config| config.limits.answers_bytes_max = 12 * MIB).await;
    let mut client = site.client().await;
    let mut slow = Vec::new();
    let filling = async {
        loop {
            let (stream, head) = reader(&site).await;
            let is_short = head.contains("ensue-end: false");
            if head.starts_with("HTTP/1.1 200") {
                slow.push(stream);
            }
            if is_short {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, filling).await.unwrap();
    // What is left is for small ones.
    let small = client.get("/v1/events?topic=small").await.ok();
    assert_eq!(small["events"].as_array().unwrap().len(), LARGE);
    let mut cursor = None;
    let mut count = 0;
    let reading = async {
        loop {
            let from = cursor.map(|it: String| format!("&cursor={it}"));
            let path = format!("/v1/events?topic=large{}", from.unwrap_or_default());
            let answer = client.send(Method::GET, &path, &[], "").await;
            if answer.status == 503 {
                // There is room again when a slow client is gone.
                let problem = answer.problem(503, "overloaded");
                assert!(
                    problem["detail"]
                        .as_str()
                        .unwrap()
                        .contains("answers_bytes_max")
                );
                drop(slow.pop());
                cursor = from_path(&path);
                continue;
            }
            let page = answer.ok();
            count += page["events"].as_array().unwrap().len();
            cursor = Some(page["cursor"].as_str().unwrap().to_owned());
            if page["end"] == true {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    assert_eq!(count, LARGE);
    drop(slow);
    while metric(&mut client, "ensue_http_answers_bytes").await > 0 {
        tokio::task::yield_now().await;
    }
    site.end().await;
}

/// The cursor that a path has.
fn from_path(path: &str) -> Option<String> {
    path.split_once("&cursor=")
        .map(|(_, cursor)| cursor.to_owned())
}

#[tokio::test]
async fn clients_that_do_not_end_their_bodies_stop_no_one_who_sends_little() {
    let site = site(|_| {}).await;
    let mut client = site.client().await;
    let body = event(
        "slow",
        &format!(r#","topic":"t","data":"{}""#, "x".repeat(MIB)),
    );
    let (start, rest) = body.split_at(MIB);
    let mut slow = Vec::new();
    let refused = loop {
        let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\nconnection: close\r\n\
             content-type: application/cloudevents+json\r\n\r\n{start}",
            body.len()
        );
        let before = metric(&mut client, "ensue_http_bodies_bytes").await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let is_held = async {
            while metric(&mut client, "ensue_http_bodies_bytes").await < before + MIB {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            read = stream.read_exact(&mut answer) => {
                read.unwrap();
                break answer;
            }
            () = is_held => slow.push(stream),
        }
    };
    assert_eq!(&refused, b"HTTP/1.1 503");
    assert!(slow.len() >= 8, "{}", slow.len());
    // The former one was given up in the middle of a request.
    let mut client = site.client().await;
    client
        .event("/v1/events", event("1", r#","topic":"t""#))
        .await
        .ok();
    // There is room for the rest of a large one when others are gone.
    slow.truncate(1);
    let has_room = async {
        while metric(&mut client, "ensue_http_bodies_bytes").await > 2 * MIB {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, has_room).await.unwrap();
    let mut answer = String::new();
    let first = &mut slow[0];
    first.write_all(rest.as_bytes()).await.unwrap();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(slow);
    site.end().await;
}

/// Streams of HTTP/2, whose client opens no window.
struct Closed {
    requests: h2::client::SendRequest<hyper::body::Bytes>,
}

impl Closed {
    async fn connect(site: &Site) -> Self {
        let stream = TcpStream::connect(site.running.address()).await.unwrap();
        let shaken = h2::client::Builder::new()
            .initial_window_size(0)
            .handshake(stream);
        let (requests, connection) = shaken.await.unwrap();
        tokio::spawn(connection);
        Self { requests }
    }

    /// Asks for something, and gives the body that the answer has, of which nothing comes.
    async fn get(&mut self, path: &str) -> (u16, h2::RecvStream) {
        let uri = format!("http://localhost{path}");
        let request = hyper::Request::get(uri).body(()).unwrap();
        let mut ready = self.requests.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(request, true).unwrap();
        let (head, body) = response.await.unwrap().into_parts();
        (head.status.as_u16(), body)
    }
}

#[tokio::test]
async fn a_client_of_http2_that_opens_no_window_is_cut_off_and_holds_a_part_of_what_all_may_have() {
    let site = site(|config| {
        config.limits.answers_bytes_max = 48 * MIB;
        config.limits.stalled_timeout = std::time::Duration::from_secs(3);
    })
    .await;
    let mut client = site.client().await;
    let mut closed = Closed::connect(&site).await;
    let mut bodies = Vec::new();
    let is_full = async {
        loop {
            let (status, body) = closed.get("/v1/events?topic=large").await;
            if status == 503 {
                return;
            }
            assert_eq!(status, 200);
            bodies.push(body);
        }
    };
    tokio::time::timeout(PATIENCE, is_full).await.unwrap();
    // A quarter is the most that one has.
    let held = metric(&mut client, "ensue_http_answers_bytes").await;
    assert!(held <= 12 * MIB, "{held}");
    // Others have what is left, and a stream is one of them.
    let page = client.get("/v1/events?topic=large").await.ok();
    assert_eq!(page["events"].as_array().unwrap().len(), LARGE);
    let path = "/v1/events/stream?topic=large&from=earliest";
    let mut stream = site.client().await.stream(path, None).await.unwrap();
    for _ in 0..LARGE {
        stream.next().await.unwrap();
    }
    let cut = async {
        for mut body in bodies {
            let error = body.data().await.unwrap().unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
        }
        while metric(&mut client, "ensue_http_answers_bytes").await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.unwrap();
    // The connection is as good as before.
    assert_eq!(closed.get("/v1/status").await.0, 200);
    site.end_at_once().await;
}

#[tokio::test]
async fn streams_that_no_one_reads_hold_an_event_each_and_go_on_when_someone_does() {
    const STREAMS: usize = 20;
    const EVENTS: usize = 24;
    let site = site(|_| {}).await;
    let mut client = site.client().await;
    let payload = "x".repeat(MIB);
    for id in 0..EVENTS {
        let more = format!(r#","topic":"followed","data":"{payload}""#);
        let large = event(&format!("f-{id}"), &more);
        client.event("/v1/events", large).await.ok();
    }
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(site.running.address()).await.unwrap();
        let request = b"GET /v1/events/stream?topic=followed&from=earliest HTTP/1.1\r\n\
            host: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        streams.push(stream);
    }
    let most = STREAMS * (MIB + MIB / 16);
    // What the system takes ahead of their clients is an event or a few.
    let all_wait = async {
        loop {
            let held = metric(&mut client, "ensue_http_answers_bytes").await;
            assert!(held <= most, "{held}");
            if held > STREAMS * MIB {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all_wait).await.unwrap();
    let mut last = streams.pop().unwrap();
    let (mut text, mut buffer) = (Vec::new(), vec![0; MIB]);
    let reading = async {
        let needle = format!("\"id\":\"f-{}\"", EVENTS - 1);
        while !text.windows(needle.len()).any(|it| it == needle.as_bytes()) {
            text.drain(..text.len().saturating_sub(needle.len()));
            let read = last.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            text.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    drop(streams);
    site.end_at_once().await;
}

#[tokio::test]
async fn streams_wait_for_room_and_have_it_when_others_are_gone() {
    let limits = |config: &mut Config| {
        config.limits.answer_bytes_max = 2 * MIB;
        config.limits.answers_bytes_max = 4 * MIB;
    };
    let site = site(limits).await;
    // As much as there is for large ones.
    let mut slow = Vec::new();
    let mut client = site.client().await;
    let filling = async {
        while metric(&mut client, "ensue_http_answers_bytes").await < 3 * MIB {
            slow.push(reader(&site).await);
        }
    };
    tokio::time::timeout(PATIENCE, filling).await.unwrap();
    let path = "/v1/events/stream?topic=large&from=earliest";
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(site.client().await.stream(path, None).await.unwrap());
    }
    drop(slow);
    for mut stream in streams {
        for _ in 0..LARGE {
            stream.next().await.unwrap();
        }
    }
    site.end().await;
}
