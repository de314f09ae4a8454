//! Requests and their replies.

use ensue::prelude::*;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::member::{MemberClient, of};
use crate::site::{Site, event};

fn question(id: &str) -> String {
    event(id, r#","topic":"orders","data":{"item":"tea"}"#)
}

async fn ask(client: &mut Client, query: &str, id: &str) -> Answer {
    let path = format!("/v1/requests?{query}");
    client.event(&path, question(id)).await
}

#[tokio::test]
async fn a_client_answers_the_request_of_another() {
    let site = Site::start().await;
    let mut service = MemberClient::join(&site, "quotes", json!({})).await;
    let mut asker = site.client().await;
    let asking = tokio::spawn(async move { ask(&mut asker, "deadline=60s", "q-1").await });
    let taken = service.take("wait=60s").await;
    let request = &taken[0]["event"];
    assert_eq!(request["data"], json!({"item": "tea"}));
    assert!(request["deadline"].is_string() && request["replyto"].is_string());
    let reply = json!({"effects": [
        {"reply": {"type": "quote.given", "data": {"price": 1.10}}},
        {"event": {"type": "quoted", "topic": "log"}},
    ]});
    service.settle(&taken[0], reply).await.ok();
    let answer = asking.await.unwrap();
    assert_eq!(
        answer.headers["content-type"],
        "application/cloudevents+json"
    );
    let answer = answer.ok();
    assert_eq!(answer["type"], "quote.given");
    assert_eq!(answer["source"], "/services/quotes");
    assert_eq!(answer["causationid"], "q-1");
    // The same question again has the same answer, from the log: no service is asked.
    let mut asker = site.client().await;
    let again = ask(&mut asker, "deadline=60s", "q-1").await.ok();
    assert_eq!(again["id"], answer["id"]);
    assert_eq!(service.take("wait=0s").await.len(), 0);
    site.end().await;
}

#[tokio::test]
async fn a_request_that_is_rejected_is_a_problem_with_the_reason() {
    let site = Site::start().await;
    let mut service = MemberClient::join(&site, "quotes", json!({})).await;
    for (id, cause, dead) in [("q-1", "rejected", 0), ("q-2", "exhausted", 1)] {
        let mut asker = site.client().await;
        let asking = tokio::spawn(async move { ask(&mut asker, "deadline=60s", id).await });
        let taken = service.take("wait=60s").await;
        let reject = of(&taken[0], json!({"reason": "no such item", "cause": cause}));
        service.commit(json!({"dead": [reject]})).await.ok();
        let problem = asking.await.unwrap().problem(422, "request_failed");
        assert_eq!(problem["reason"], "no such item");
        assert_eq!(problem["in_doubt"], false);
        let letters = service
            .client
            .get("/v1/dead-letters?group=quotes")
            .await
            .ok();
        let letters = letters["dead_letters"].as_array().unwrap().len();
        assert_eq!(letters, dead, "one that is rejected is answered, and done");
    }
    site.end().await;
}

#[tokio::test]
async fn a_request_without_a_reply_ends_at_its_deadline_and_no_service_gets_it_later() {
    let site = Site::start().await;
    let mut asker = site.client().await;
    let problem = ask(&mut asker, "deadline=50ms", "q-1").await;
    let problem = problem.problem(504, "no_reply");
    assert_eq!(problem["in_doubt"], true);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("a new id"), "{detail}");
    assert!(detail.contains("no group consumes the topic"), "{detail}");
    let mut service = MemberClient::join(&site, "quotes", json!({})).await;
    assert_eq!(service.take("wait=0s").await.len(), 0);
    let problem = ask(&mut asker, "deadline=50ms", "q-1").await;
    let problem = problem.problem(504, "no_reply");
    assert!(!problem["detail"].as_str().unwrap().contains("no group"));
    let asking = tokio::spawn(async move { ask(&mut asker, "deadline=60s", "q-2").await });
    let taken = service.take("wait=60s").await;
    assert_eq!(taken[0]["event"]["id"], "q-2");
    service
        .settle(&taken[0], json!({"effects": [{"reply": {"type": "r"}}]}))
        .await
        .ok();
    asking.await.unwrap().ok();
    site.end().await;
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct Asked {
    item: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "quote.given", topic = "quotes")]
struct Given {
    letters: usize,
}

#[tokio::test]
async fn a_service_in_rust_answers_too() {
    let site = Site::start().await;
    let app = App::new(site.engine.clone()).on("quotes", |asked: Asked| async move {
        Reply(Given {
            letters: asked.item.len(),
        })
    });
    let app = app.start().await.unwrap();
    let mut asker = site.client().await;
    let answer = ask(&mut asker, "", "q-1").await.ok();
    assert_eq!(
        (&answer["type"], &answer["data"]),
        (&json!("quote.given"), &json!({"letters": 3}))
    );
    app.stop().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let site = Site::start().await;
    let mut client = site.client().await;
    client.event("/v1/events", question("q-1")).await.ok();
    ask(&mut client, "", "q-1")
        .await
        .problem(409, "not_a_request");
    for query in ["deadline=0s", "deadline=2m", "deadline=soon"] {
        ask(&mut client, query, "q-2")
            .await
            .problem(400, "invalid_parameter");
    }
    ask(&mut client, "wait=1s", "q-2")
        .await
        .problem(400, "unknown_parameter");
    let batch = client
        .batch("/v1/requests", format!("[{}]", question("q-2")))
        .await;
    batch.problem(415, "unsupported_media_type");
    let reserved = event("q-2", r#","topic":"_x""#);
    client
        .event("/v1/requests", reserved)
        .await
        .problem(400, "invalid_event");
    assert_eq!(site.events().await.len(), 1, "nothing was appended");
    let _: Value = client.get("/v1/status").await.ok();
    site.end().await;
}

#[tokio::test]
async fn no_more_wait_for_one_reply_than_the_limit_says() {
    let site = Site::start().await;
    let mut service = MemberClient::join(&site, "quotes", json!({})).await;
    let mut asking = Vec::new();
    for _ in 0..ensue::REQUEST_WAITERS_MAX {
        let mut asker = site.client().await;
        asking.push(tokio::spawn(async move {
            ask(&mut asker, "deadline=60s", "q-1").await
        }));
    }
    let taken = service.take("wait=60s").await;
    // Until all of them wait, another may be one of them.
    let mut asker = site.client().await;
    let refused = async {
        loop {
            let answer = ask(&mut asker, "deadline=10ms", "q-1").await;
            if answer.status != 504 {
                return answer;
            }
        }
    };
    let refused = tokio::time::timeout(crate::site::PATIENCE, refused).await;
    let problem = refused.unwrap().problem(503, "overloaded");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("REQUEST_WAITERS_MAX"), "{detail}");
    // Other requests are not concerned.
    let other = ask(&mut asker, "deadline=10ms", "q-2").await;
    other.problem(504, "no_reply");
    let reply = json!({"effects": [{"reply": {"type": "quote.given", "data": 1}}]});
    service.settle(&taken[0], reply).await.ok();
    for asking in asking {
        assert_eq!(asking.await.unwrap().ok()["type"], "quote.given");
    }
    site.end().await;
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "seat.booked", topic = "seats", key = 0)]
struct Booked(String);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "seat.book", topic = "seat-commands", key = seat)]
struct Book {
    seat: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Seat {
    is_taken: bool,
}

#[aggregate]
impl Seat {
    #[apply]
    fn booked(&mut self, _: Booked) {
        self.is_taken = true;
    }

    fn book(&self, seat: String) -> Result<Booked, String> {
        if self.is_taken {
            return Err("it is taken".to_owned());
        }
        Ok(Booked(seat))
    }
}

struct Theatre;

#[service]
impl Theatre {
    #[on]
    async fn book(&self, command: Book, ctx: &Context) -> Result<Decided<String>, Failure> {
        ctx.decide(|seat: &Seat| seat.book(command.seat)).await
    }
}

#[tokio::test]
async fn the_answer_to_a_command_has_the_token_of_what_was_decided() {
    let site = Site::start().await;
    let app = App::new(site.engine.clone()).service(Theatre);
    let app = app.on("plan", async |_: Booked| {}).start().await.unwrap();
    let mut client = site.client().await;
    let command = |id: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"seat.book","topic":"seat-commands",
                "subject":"12-F","data":{{"seat":"12-F"}}}}"#
        )
    };
    let accepted = client
        .event("/v1/requests?deadline=60s", command("c-1"))
        .await;
    let token = accepted.headers["ensue-position"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        accepted.ok()["data"],
        json!({"accepted": {"version": 1, "events": 1}})
    );
    let booked = site.engine.last("seats", "12-F").await.unwrap().unwrap();
    assert_eq!(token, booked.position.to_string());
    let path = format!("/v1/groups/plan/wait?token={token}&timeout=60s");
    client.get(&path).await.ok();
    let beyond = client
        .get("/v1/groups/plan/wait?token=9999&timeout=0s")
        .await;
    let beyond = beyond.problem(400, "beyond_end");
    let detail = beyond["detail"].as_str().unwrap();
    assert!(
        detail.contains("position 9999 is beyond the end"),
        "{detail}"
    );
    let refused = client
        .event("/v1/requests?deadline=60s", command("c-2"))
        .await;
    assert!(!refused.headers.contains_key("ensue-position"));
    assert_eq!(refused.ok()["data"], json!({"refused": "it is taken"}));
    app.stop().await.unwrap();
    site.end().await;
}
