//! Sagas, as operators see them; and waiting for a group.

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Flow, Running, Saga, Step};
use hyper::Method;
use serde_json::{Value, json};

use crate::audit::trail;
use crate::client::{Answer, Client};
use crate::secure::{Bearer, Setup};
use crate::site::{Site, event};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.placed", topic = "orders.eu", key = order)]
struct Placed {
    order: String,
}

#[derive(State, Serialize, Deserialize)]
#[state(name = "checkout")]
struct Checkout;

struct Reserve;

impl Step<Checkout> for Reserve {
    const NAME: &'static str = "reserve";

    async fn act(&self, _: &mut Checkout, _: &Context) -> Result<Flow, Failure> {
        Ok(Flow::next())
    }
}

/// Falls over for the order `trap`.
struct Pay;

impl Step<Checkout> for Pay {
    const NAME: &'static str = "pay";

    async fn act(&self, _: &mut Checkout, ctx: &Context) -> Result<Flow, Failure> {
        assert_ne!(ctx.key(), "trap", "a step that panics");
        Ok(Flow::wait(Duration::from_secs(900)))
    }
}

/// Two processes: `o-1` waits, `trap` is stuck.
async fn checkouts(engine: &Engine) -> Running {
    let options = ensue::HandlerOptions::default().attempts(1);
    let saga = Saga::new("checkout", |_: Placed| Checkout)
        .options(options)
        .step(Reserve)
        .step(Pay);
    let mut running = App::new(engine.clone()).saga(saga).start().await.unwrap();
    for order in ["o-1", "trap"] {
        let placed = Placed {
            order: order.into(),
        };
        engine.publish(placed).await.unwrap();
    }
    running.settled().await.unwrap();
    running
}

async fn post(client: &mut Client, path: &str, body: impl Into<String>) -> Answer {
    let headers = [("content-type", "application/json")];
    client.send(Method::POST, path, &headers, body.into()).await
}

fn whats(path: &Value) -> Vec<String> {
    let path = path.as_array().unwrap().iter();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
    path.map(|it| {
        format!("{} {}", text(it, "what"), text(it, "step"))
            .trim()
            .to_owned()
    })
    .collect()
}

#[tokio::test]
async fn processes_are_listed_shown_tried_again_and_undone() {
    let site = Site::start().await;
    let mut app = checkouts(&site.engine).await;
    let mut client = site.client().await;
    let all = client.get("/v1/sagas").await.ok();
    let keys: Vec<&Value> = all["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["key"])
        .collect();
    assert_eq!(keys, ["o-1", "trap"]);
    assert_eq!(all["processes"][0]["phase"], "waiting");
    assert!(all["processes"][0]["until"].is_string() && all["processes"][0]["stuck"].is_null());
    let first = client.get("/v1/sagas?saga=checkout&limit=1").await.ok();
    assert_eq!(
        (&first["processes"][0]["key"], &first["more"]),
        (&json!("o-1"), &json!(true))
    );
    let rest = client.get("/v1/sagas?saga=checkout&after=o-1").await.ok();
    assert_eq!(
        (&rest["processes"][0]["key"], &rest["more"]),
        (&json!("trap"), &json!(false))
    );
    let stuck = client.get("/v1/sagas?stuck=true").await.ok();
    assert_eq!(stuck["processes"].as_array().unwrap().len(), 1);
    assert!(
        stuck["processes"][0]["stuck"]["reason"]
            .as_str()
            .unwrap()
            .contains("panic"),
        "{stuck}"
    );

    let shown = client.get("/v1/sagas/checkout/process?key=trap").await.ok();
    assert_eq!(whats(&shown["path"]), ["taken", "due reserve", "due pay"]);
    assert_eq!(shown["path"][0]["event_type"], "order.placed");
    assert_eq!(shown["path"][2]["stuck"]["attempts"], 1);
    let part = client
        .get("/v1/sagas/checkout/process?key=trap&limit=2")
        .await
        .ok();
    assert_eq!(
        (whats(&part["path"]).len(), &part["more"]),
        (2, &json!(true))
    );
    let next = format!(
        "/v1/sagas/checkout/process?key=trap&from={}",
        part["next"].as_str().unwrap()
    );
    assert_eq!(whats(&client.get(&next).await.ok()["path"]), ["due pay"]);

    let retry = "/v1/sagas/checkout/retry";
    let plan = post(&mut client, retry, r#"{"all": true, "dry_run": true}"#)
        .await
        .ok();
    let planned = json!({ "saga": "checkout", "dry_run": true, "count": 1, "keys": ["trap"] });
    assert_eq!(plan, planned);
    let twice = r#"{"keys": ["trap", "o-1", "trap"], "dry_run": true}"#;
    let twice = post(&mut client, retry, twice).await.ok();
    assert_eq!(twice, planned, "each process counts once");
    let none = post(&mut client, retry, r#"{"keys": ["o-1", "nobody"]}"#)
        .await
        .ok();
    assert_eq!(none["count"], 0);
    let again = post(&mut client, retry, r#"{"keys": ["trap"]}"#).await.ok();
    assert_eq!(again["count"], 1);
    app.settled().await.unwrap();
    let shown = client.get("/v1/sagas/checkout/process?key=trap").await.ok();
    assert_eq!(
        shown["process"]["stuck"]["redriven"], 1,
        "it has failed again"
    );

    let compensate = "/v1/sagas/checkout/compensate";
    let wanted =
        |key: &str, more: &str| format!(r#"{{"key": "{key}", "reason": "by hand"{more}}}"#);
    let plan = post(
        &mut client,
        compensate,
        wanted("trap", r#", "dry_run": true"#),
    )
    .await
    .ok();
    assert_eq!(plan["steps"], json!(["pay", "reserve"]));
    for key in ["trap", "o-1"] {
        let done = post(&mut client, compensate, wanted(key, "")).await.ok();
        assert_eq!(
            (&done["dry_run"], &done["process"]["key"]),
            (&json!(false), &json!(key))
        );
    }
    app.settled().await.unwrap();
    let shown = client.get("/v1/sagas/checkout/process?key=trap").await.ok();
    let path = whats(&shown["path"]);
    let end = ["compensate", "undo pay", "undo reserve", "ended"];
    assert!(
        shown["process"].is_null() && path.ends_with(&end.map(str::to_owned)),
        "{shown}"
    );
    assert_eq!(client.get("/v1/sagas").await.ok()["processes"], json!([]));
    app.stop().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let site = Site::start().await;
    let app = checkouts(&site.engine).await;
    let mut client = site.client().await;
    for (path, status, code) in [
        ("/v1/sagas?saga=none", 404, "unknown_group"),
        ("/v1/sagas?after=o-1", 400, "invalid_parameter"),
        ("/v1/sagas?limit=201", 400, "invalid_parameter"),
        ("/v1/sagas/checkout/process", 400, "invalid_parameter"),
        (
            "/v1/sagas/checkout/process?key=none",
            404,
            "unknown_process",
        ),
        (
            "/v1/sagas/checkout/process?key=o-1&from=x",
            400,
            "invalid_parameter",
        ),
        ("/v1/sagas/none/process?key=o-1", 404, "unknown_group"),
    ] {
        client.get(path).await.problem(status, code);
    }
    for (path, body, status, code) in [
        ("retry", "{}", 400, "invalid_body"),
        (
            "retry",
            r#"{"all": true, "keys": ["o-1"]}"#,
            400,
            "invalid_body",
        ),
        ("compensate", r#"{"key": "o-1"}"#, 400, "invalid_body"),
        (
            "compensate",
            r#"{"key": "o-1", "reason": " "}"#,
            400,
            "invalid_body",
        ),
        (
            "compensate",
            r#"{"key": "none", "reason": "why"}"#,
            404,
            "unknown_process",
        ),
    ] {
        let path = format!("/v1/sagas/checkout/{path}");
        post(&mut client, &path, body).await.problem(status, code);
    }
    app.stop().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn who_operates_a_saga_is_written_down_and_others_see_nothing_of_it() {
    let setup = Setup::with_tokens();
    let (owner, stranger) = (setup.token("owner"), setup.token("stranger-to-orders"));
    let site = Site::with(setup.config()).await;
    let app = checkouts(&site.engine).await;
    let mut stranger = Bearer::connect(&site, &stranger).await;
    let answer = stranger.get("/v1/sagas").await;
    assert!(!answer.text().contains("o-1"), "{}", answer.text());
    let answer = stranger.get("/v1/sagas/checkout/process?key=o-1").await;
    assert!([403, 404].contains(&answer.status.as_u16()));

    let mut owner = Bearer::connect(&site, &owner).await;
    owner
        .post("/v1/sagas/checkout/retry", r#"{"keys": ["trap"]}"#)
        .await
        .ok();
    let path = "/v1/sagas/checkout/compensate";
    let body = r#"{"key": "trap", "reason": "the customer called"}"#;
    owner.post(path, body).await.problem(400, "reason_required");
    let why = [
        ("content-type", "application/json"),
        ("ensue-reason", "ticket 17"),
    ];
    owner.send(Method::POST, path, &why, body).await.ok();
    let (entries, report) = trail(&site.engine).await;
    assert!(report.is_good(), "{report:?}");
    let told: Vec<String> = entries
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it["action"].as_str().unwrap(),
                it["stage"].as_str().unwrap()
            )
        })
        .collect();
    let expected = [
        "saga.retry requested",
        "saga.retry done",
        "saga.compensate requested",
        "saga.compensate done",
    ];
    assert_eq!(told, expected);
    assert_eq!(entries[2]["target"]["key"], "trap");
    assert_eq!(entries[2]["reason"], "ticket 17");
    app.stop().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn a_client_reads_what_it_has_just_written() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let receipt = client
        .event("/v1/events?topic=orders", event("1", ""))
        .await
        .ok();
    let token = receipt["position"].as_str().unwrap().to_owned();
    let path = |query: &str| format!("/v1/groups/lists/wait?{query}");
    let known = path(&format!("token={token}&timeout=0s"));
    client.get(&known).await.problem(404, "unknown_group");
    crate::audit::group(&site.engine, "lists", "orders").await;
    let late = client.get(&known).await;
    late.problem(504, "not_handled");
    for query in ["", "token=x", "token=1&timeout=2h", "token=1&timeout=x"] {
        client
            .get(&path(query))
            .await
            .problem(400, "invalid_parameter");
    }

    // It answers as soon as the event is handled, whoever handles it.
    let mut waiting = site.client().await;
    let waits = path(&format!("token={token}&timeout=30s"));
    let waits = tokio::spawn(async move { waiting.get(&waits).await });
    let lists = Handler::raw();
    let app = App::new(site.engine.clone())
        .handler("lists", lists)
        .start()
        .await
        .unwrap();
    let answer = waits.await.unwrap().ok();
    assert_eq!(answer, json!({ "group": "lists", "token": token }));
    client.get(&known).await.ok();
    app.stop().await.unwrap();
    site.end().await;
}

/// A handler of everything in `orders`.
enum Handler {}

impl Handler {
    fn raw() -> ensue::Handler {
        let topics = "orders".parse().unwrap();
        let options = ensue::HandlerOptions::default();
        ensue::Handler::raw("take", topics, None, options, async |_, _| {})
    }
}
