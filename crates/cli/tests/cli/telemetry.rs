//! Spans and log records of real processes, at a real collector.

#![allow(
    clippy::disallowed_types,
    reason = "it is a client of the server, and a receiver of its webhooks"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ensue::prelude::*;
use ensue::{Engine, HandlerOptions, PrometheusText};
use ensue_otel::{Settings, Telemetry};
use serde_json::{Value, json};

use crate::collector::{Collector, Kind, Span};
use crate::serving::{Serving, answer};
use crate::shop::{PATIENCE, Shop};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[derive(Event, Serialize, Deserialize, Clone)]
#[event(type = "order.created", topic = "orders", key = order)]
struct OrderCreated {
    order: String,
}

#[derive(Event, Serialize, Deserialize, Clone)]
#[event(type = "order.paid", topic = "paid", key = order)]
struct OrderPaid {
    order: String,
}

/// A receiver of webhooks: the `traceparent` of each request.
fn receiver() -> (mpsc::Receiver<String>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, received) = mpsc::sync_channel(100);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(trace) = traceparent(&mut reader) {
                    let _ = send.send(trace);
                    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (received, address)
}

fn traceparent(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut trace, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(": ") {
            Some(("traceparent", value)) => trace = value.to_owned(),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(trace)
}

/// A server whose spans and log records go to a collector at once.
fn serve(shop: &Shop, address: &str, config: &Path, collector: &str) -> Serving {
    let config = config.to_str().unwrap();
    let args = ["--json", "serve", "--listen", address, "--config", config];
    let mut command = shop.command(&args);
    command
        .env("SHOP_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .env("ENSUE_LOG", "debug,hyper=warn")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_SERVICE_NAME", "shop-server")
        .env("OTEL_SEMCONV_STABILITY_OPT_IN", "messaging")
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "20");
    Serving::started(command)
}

/// A request and its answer.
fn call(address: &str, method: &str, path: &str, headers: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let answer = answer(&mut stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

const JSON: &str = "content-type: application/json\r\n";

fn order() -> Value {
    json!({
        "specversion": "1.0", "id": "o-1", "source": "/web", "type": "order.created", "topic": "orders",
        "subject": "o-1", "data": {"order": "o-1"},
    })
}

/// The only span of this name.
#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no `{name}` in {spans:#?}"));
    assert!(found.next().is_none(), "`{name}` twice in {spans:#?}");
    one
}

fn has(spans: &[Span], names: &[&str]) -> bool {
    names
        .iter()
        .all(|name| spans.iter().any(|span| span.name == *name))
}

/// Takes an event of `paid` as a client of the server, and says that `order.shipped` follows.
fn ship(address: &str) -> String {
    let members = "/v1/groups/shipping/members";
    let join = json!({"topics": ["paid"]});
    let joined = call(address, "POST", members, JSON, &join);
    let member = format!("{members}/{}", joined["member"].as_str().unwrap());
    let take = format!("{member}/take?wait=60s");
    let taken = call(address, "POST", &take, JSON, &json!({}));
    let delivery = &taken["deliveries"][0];
    let shipped = json!({"event": {"type": "order.shipped", "topic": "shipped", "subject": "o-1"}});
    let settle = json!({
        "position": delivery["position"], "generation": delivery["generation"], "effects": [shipped],
    });
    let commit = format!("{member}/commit");
    call(address, "POST", &commit, JSON, &json!({"settle": [settle]}));
    delivery["event"]["traceparent"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Handles orders over the server, until a payment is in the log.
async fn pay(address: &str, collector: &Collector) {
    let settings = Settings::from_env("payments").unwrap();
    let settings = settings
        .endpoint(&collector.url)
        .messaging_conventions(true);
    let telemetry = Telemetry::start(settings).unwrap();
    let engine = Engine::open(&format!("ensue://{address}")).await.unwrap();
    let app = App::new(engine.clone()).layer(telemetry.handlers()).on(
        "payments",
        async |created: OrderCreated| OrderPaid {
            order: created.order,
        },
    );
    let running = app.start().await.unwrap();
    engine.settled(["payments"]).await.unwrap();
    running.stop().await.unwrap();
    engine.close().await.unwrap();
    telemetry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_a_request_through_handlers_and_a_kill_to_the_webhook() {
    let (collector, shop) = (Collector::start(), Shop::empty());
    let (webhooks, receiver) = receiver();
    let config = shop.path().with_extension("toml");
    let text = format!(
        "[webhooks]\nallow = [\"127.0.0.1\"]\n[[webhooks.endpoint]]\nname = \"shop\"\n\
         url = \"http://{receiver}/hook\"\ntopics = [\"shipped\"]\nsecrets = {{ env = \"SHOP_SECRET\" }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let serving = serve(&shop, "127.0.0.1:0", &config, &collector.url);
    let address = serving.address.clone();
    let headers = format!(
        "content-type: application/cloudevents+json\r\ntraceparent: 00-{TRACE}-{CALLER}-01\r\n"
    );
    call(&address, "POST", "/v1/events", &headers, &order());
    pay(&address, &collector).await;
    let begun = [
        "POST /v1/events",
        "send orders",
        "process orders",
        "create paid",
    ];
    collector.spans(|spans| has(spans, &begun));
    serving.signal("-KILL");
    drop(serving);

    let serving = serve(&shop, "127.0.0.1:0", &config, &collector.url);
    let taken = ship(&serving.address);
    let delivered = webhooks.recv_timeout(PATIENCE).unwrap();
    let ended = ["create shipped", "process shipped", "POST"];
    let spans = collector.spans(|spans| has(spans, &ended));
    assert_eq!(serving.end(), Some(0));

    let request = named(&spans, "POST /v1/events");
    let sent = named(&spans, "send orders");
    let handled = named(&spans, "process orders");
    let paid = named(&spans, "create paid");
    let shipped = named(&spans, "create shipped");
    let delivery = named(&spans, "process shipped");
    let hook = named(&spans, "POST");
    let chain = [
        (request, CALLER, Kind::Server, "shop-server"),
        (sent, &request.id, Kind::Producer, "shop-server"),
        (handled, &sent.id, Kind::Consumer, "payments"),
        (paid, &handled.id, Kind::Producer, "payments"),
        (shipped, &paid.id, Kind::Producer, "shop-server"),
        (delivery, &shipped.id, Kind::Consumer, "shop-server"),
        (hook, &delivery.id, Kind::Client, "shop-server"),
    ];
    for (span, parent, kind, service) in chain {
        let found = (span.trace.as_str(), span.parent.as_str(), span.kind);
        assert_eq!(found, (TRACE, parent, kind), "{}", span.name);
        assert_eq!(span.service, service, "{}", span.name);
        assert!(!span.is_error, "{span:?}");
    }
    assert_eq!(taken, format!("00-{TRACE}-{}-01", paid.id));
    assert_eq!(delivered, format!("00-{TRACE}-{}-01", hook.id));
    for (name, value) in [
        ("messaging.system", "ensue"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "orders"),
        ("messaging.consumer.group.name", "payments"),
        ("messaging.message.id", "o-1"),
        ("ensue.group", "payments"),
        ("ensue.attempt", "1"),
        ("ensue.event.type", "order.created"),
    ] {
        assert_eq!(
            handled.attributes.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(hook.attributes["http.response.status_code"], "204");
    assert_eq!(request.attributes["http.route"], "/v1/events");
    let line = collector.record(|it| it.body == "answered" && it.trace == TRACE);
    assert_eq!(line.span, request.id);
}

/// An app over an engine in memory, whose first two attempts at each event fail.
async fn failing(telemetry: &Telemetry) -> (Engine, ensue::Running) {
    let engine = Engine::open("memory:").await.unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let options = HandlerOptions::default().attempts(5);
    let handler = ensue::Handler::new(
        "charge",
        options.backoff(Duration::from_millis(1), Duration::from_millis(1)),
        {
            move |_: OrderCreated, _| {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                async move {
                    if attempt < 2 {
                        return Err(Failure::retry("busy"));
                    }
                    Ok(())
                }
            }
        },
    );
    let app = App::new(engine.clone()).layer(telemetry.handlers());
    let running = app.handler("payments", handler).start().await.unwrap();
    (engine, running)
}

async fn publish(engine: &Engine, telemetry: &Telemetry) {
    let publisher = engine.publisher("/web").traced(telemetry.tracer());
    let order = OrderCreated {
        order: "o-1".into(),
    };
    publisher.publish(order).await.unwrap();
    engine.settled(["payments"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_a_span_beside_the_others_and_linked_to_the_one_before() {
    let collector = Collector::start();
    let settings = Settings::from_env("shop").unwrap().endpoint(&collector.url);
    let telemetry = Telemetry::start(settings).unwrap();
    let (engine, running) = failing(&telemetry).await;
    publish(&engine, &telemetry).await;
    running.stop().await.unwrap();
    telemetry.shutdown().await;
    let spans = collector.spans(|spans| spans.len() >= 4);
    let sent = named(&spans, "send orders");
    assert_eq!((sent.kind, sent.parent.as_str()), (Kind::Producer, ""));
    let mut attempts: Vec<_> = spans
        .iter()
        .filter(|it| it.name == "process orders")
        .collect();
    attempts.sort_by_key(|it| it.attributes["ensue.attempt"].clone());
    assert_eq!(attempts.len(), 3);
    for attempt in &attempts {
        assert_eq!((&attempt.trace, &attempt.parent), (&sent.trace, &sent.id));
        // The conventions of messaging are not stable: they have to be asked for.
        let mut names = attempt.attributes.keys();
        assert!(
            names.all(|name| !name.starts_with("messaging.")),
            "{attempt:?}"
        );
    }
    assert_eq!(attempts[0].links.len(), 0);
    assert_eq!(attempts[1].links, [attempts[0].id.clone()]);
    assert_eq!(attempts[2].links, [attempts[1].id.clone()]);
    let errors: Vec<_> = attempts.iter().map(|it| it.is_error).collect();
    assert_eq!(errors, [true, true, false]);
    assert_eq!(attempts[0].attributes["error.type"], "retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_sampled_goes_on_as_such_and_nothing_is_sent() {
    let collector = Collector::start();
    let settings = Settings::from_env("shop").unwrap().endpoint(&collector.url);
    let telemetry = Telemetry::start(settings.sample(0.0)).unwrap();
    let engine = Engine::open("memory:").await.unwrap();
    let running = App::new(engine.clone())
        .layer(telemetry.handlers())
        .on("payments", async |created: OrderCreated| OrderPaid {
            order: created.order,
        })
        .start()
        .await
        .unwrap();
    publish(&engine, &telemetry).await;
    running.stop().await.unwrap();
    telemetry.shutdown().await;
    let page = engine.shared().read(ensue::engine::Query::default());
    let events = page.await.unwrap().events;
    let traces: Vec<_> = events
        .iter()
        .map(|it| it.envelope.trace().unwrap())
        .collect();
    assert_eq!(traces.len(), 2);
    assert_eq!(traces[0].trace_id(), traces[1].trace_id());
    assert!(
        traces.iter().all(|trace| trace.flags() & 1 == 0),
        "{traces:?}"
    );
    assert_eq!(collector.spans(|_| true).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_stops_nothing_and_what_is_lost_is_counted() {
    // A port at which nothing listens.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = Settings::from_env("shop").unwrap().endpoint(url);
    let telemetry = Telemetry::start(settings).unwrap();
    let (engine, running) = failing(&telemetry).await;
    publish(&engine, &telemetry).await;
    running.stop().await.unwrap();
    telemetry.flush().await;
    let mut text = PrometheusText::default();
    telemetry.write_metrics(&mut text);
    let text = text.finish();
    let lost = "ensue_telemetry_dropped_total{signal=\"traces\",reason=\"export_failed\"} 4";
    assert!(text.contains(lost), "{text}");
    telemetry.shutdown().await;
}

#[test]
fn a_variable_that_cannot_be_what_it_is_ends_the_command_with_its_name() {
    let shop = Shop::empty();
    let mut command = shop.command(&["--json", "serve", "--listen", "127.0.0.1:0"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{message}");
}
