//! Groups: clients that take events and commit what became of them.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::member::{MemberClient, ids, of, post};
use crate::site::{Site, event};

/// Appends orders, `KEY:ID` each.
pub(crate) async fn orders(site: &Site, orders: &[&str]) {
    let events = orders.iter().map(|order| {
        let (key, id) = order.split_once(':').unwrap();
        let more = format!(r#","topic":"orders","subject":"{key}","data":{{"cents":1.10}}"#);
        event(id, &more)
    });
    let events: Vec<String> = events.collect();
    let mut client = site.client().await;
    client
        .batch("/v1/events", format!("[{}]", events.join(",")))
        .await
        .ok();
}

/// The payloads of a topic.
async fn payloads(site: &Site, topic: &str) -> Vec<String> {
    let events = site.events().await.into_iter();
    let of_topic = events.filter(|it| it.envelope.topic() == topic);
    of_topic
        .map(|it| String::from_utf8(it.envelope.payload().to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_commit_is_effects_and_state_and_position_in_one() {
    let site = Site::start().await;
    orders(&site, &["k:1", "k:2"]).await;
    let mut member = MemberClient::join(&site, "billing", json!({})).await;
    assert_eq!(member.joined["generation"], 0);
    assert_eq!(member.joined["lease_ms"], 30_000);
    let first = member.take("state=total&state=seen").await;
    assert_eq!(ids(&first), ["1"], "one of a key at a time");
    let run = first[0]["run"].as_u64().unwrap();
    assert_eq!(first[0]["attempt"], 1);
    assert_eq!(first[0]["state"], json!({}));
    assert_eq!(first[0]["event"]["data"], json!({"cents": 1.1}));
    let paid = json!({
        "effects": [
            {"event": {"type": "order.paid", "topic": "paid", "subject": "k", "data": {"n": 1}}},
            {"event": {"type": "order.paid", "topic": "paid", "subject": "k", "data": {"n": 2}}},
        ],
        "state": {"total": 1.10, "seen": ["1"]},
    });
    let done = member.settle(&first[0], paid).await.ok();
    assert_eq!(
        done,
        json!({"generation": 0, "dropped": 0, "handed_back": [], "duplicate": false})
    );
    let second = member.take("state=total&state=seen&state=other").await;
    assert_eq!(ids(&second), ["2"]);
    assert_eq!(second[0]["state"], json!({"total": 1.1, "seen": ["1"]}));
    let forget = json!({"state": {"seen": null}, "state_base64": {"raw": "/w=="}});
    member.settle(&second[0], forget).await.ok();

    let events = site.events().await;
    let cause = &events[0].envelope;
    let paid: Vec<_> = events
        .iter()
        .map(|it| &it.envelope)
        .filter(|it| it.topic() == "paid")
        .collect();
    assert_eq!(paid.len(), 2);
    for (index, paid) in paid.iter().enumerate() {
        let id = cause.effect_id("billing", run, index).to_string();
        assert_eq!(
            (paid.id(), paid.source()),
            (id.as_str(), "/services/billing")
        );
        assert_eq!((paid.causation(), paid.correlation()), (Some("1"), "1"));
        assert_eq!(paid.key(), "k");
    }
    let cell = async |name| {
        site.engine
            .shared()
            .state("billing", "orders", "k", name)
            .await
    };
    assert_eq!(cell("seen").await.unwrap(), None);
    assert_eq!(cell("raw").await.unwrap().unwrap(), &b"\xff"[..]);
    // What a client wrote is read by a program in Rust.
    let json = cell("total").await.unwrap().unwrap();
    assert_eq!(ensue::consumer::cell_json(&json), Some("1.1"));
    site.end().await;
}

#[tokio::test]
async fn two_members_share_the_keys_and_each_event_is_handled_once() {
    let site = Site::start().await;
    let mut members = [
        MemberClient::join(&site, "g", json!({})).await,
        MemberClient::join(&site, "g", json!({})).await,
    ];
    let all: Vec<String> = (0..60).map(|n| format!("k{}:{n}", n % 20)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    orders(&site, &all).await;
    let (mut handled, mut of_member) = (Vec::new(), [0, 0]);
    while handled.len() < 60 {
        for (index, member) in members.iter_mut().enumerate() {
            let taken = member.take("wait=0s&max=5").await;
            of_member[index] += taken.len();
            let settle: Vec<Value> = taken.iter().map(|it| of(it, json!({}))).collect();
            member.commit(json!({ "settle": settle })).await.ok();
            handled.extend(
                ids(&taken)
                    .into_iter()
                    .map(|id| id.parse::<usize>().unwrap()),
            );
        }
    }
    assert!(of_member.iter().all(|count| *count > 0), "{of_member:?}");
    for key in 0..20 {
        let of_key: Vec<_> = handled.iter().filter(|id| *id % 20 == key).collect();
        assert!(of_key.is_sorted() && of_key.len() == 3, "{of_key:?}");
    }
    site.end().await;
}

#[tokio::test]
async fn a_failure_blocks_its_key_and_no_other() {
    let site = Site::start().await;
    orders(&site, &["a:1", "a:2", "b:3", "c:4", "c:5"]).await;
    let mut member = MemberClient::join(&site, "g", json!({"key_events_max": 5})).await;
    let taken = member.take("").await;
    assert_eq!(ids(&taken), ["1", "2", "3", "4", "5"]);
    let failed = json!({
        "settle": [of(&taken[2], json!({}))],
        "dead": [of(&taken[0], json!({"reason": "card declined"}))],
        "retry": [of(&taken[3], json!({"reason": "gateway away", "at": "2100-01-01T00:00:00Z"}))],
    });
    let done = member.commit(failed).await.ok();
    assert_eq!(
        done["handed_back"],
        json!([taken[1]["position"], taken[4]["position"]])
    );
    // What was handed back is the client's no more.
    let stale = member.settle(&taken[1], json!({})).await;
    let stale = stale.problem(409, "stale_delivery");
    assert_eq!(stale["positions"], json!([taken[1]["position"]]));
    orders(&site, &["a:6", "b:7", "c:8", "d:9"]).await;
    let mut others = Vec::new();
    while others.len() < 2 {
        others.extend(member.take("").await);
    }
    assert_eq!(ids(&others), ["7", "9"]);
    let letters = member.client.get("/v1/dead-letters?group=g").await.ok();
    assert_eq!(letters["dead_letters"][0]["reason"], "card declined");
    assert_eq!(letters["dead_letters"][0]["cause"], "rejected");
    let redrive = json!({"all": true});
    post(
        &mut member.client,
        "/v1/groups/g/dead-letters/redrive",
        &redrive,
    )
    .await
    .ok();
    let mut again = Vec::new();
    while again.len() < 3 {
        let taken = member.take("").await;
        let settle: Vec<Value> = taken.iter().map(|it| of(it, json!({}))).collect();
        member.commit(json!({ "settle": settle })).await.ok();
        again.extend(taken);
    }
    assert_eq!(ids(&again), ["1", "2", "6"]);
    site.end().await;
}

#[tokio::test]
async fn a_retry_comes_again_with_its_attempt_and_another_generation() {
    let site = Site::start().await;
    orders(&site, &["a:1"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let first = member.take("").await;
    let retry = json!({"retry": [of(&first[0], json!({"reason": "away", "after": "1ms"}))]});
    let done = member.commit(retry.clone()).await.ok();
    let second = member.take("").await;
    assert_eq!(second[0]["attempt"], 2);
    assert_eq!(second[0]["position"], first[0]["position"]);
    assert_eq!(second[0]["generation"], done["generation"]);
    // The same position, but not the same delivery.
    member.commit(retry).await.problem(409, "stale_delivery");
    member.settle(&second[0], json!({})).await.ok();
    site.end().await;
}

#[tokio::test]
async fn a_commit_that_is_half_invalid_changes_nothing() {
    let site = Site::start().await;
    orders(&site, &["a:1", "a:2", "b:3"]).await;
    let mut member = MemberClient::join(&site, "g", json!({"key_events_max": 2})).await;
    let taken = member.take("").await;
    let good = of(
        &taken[0],
        json!({
            "effects": [{"event": {"type": "e", "topic": "out"}}],
            "state": {"cell": 1},
        }),
    );
    let other = &taken[2];
    let with = |more: Value| json!({"settle": [good, of(other, more)]});
    let effect = |effect: Value| with(json!({ "effects": [effect] }));
    let stale = json!({"position": other["position"], "generation": 7});
    for (body, status, code) in [
        (json!({"settle": [good, stale]}), 409, "stale_delivery"),
        (json!({"settle": [good, good]}), 400, "invalid_body"),
        (
            json!({"settle": [good], "retry": [of(&taken[0], json!({"reason": ""}))]}),
            400,
            "invalid_body",
        ),
        (
            json!({"settle": [of(&taken[1], json!({}))]}),
            409,
            "out_of_order",
        ),
        (
            json!({"settle": [of(&taken[1], json!({}))], "dead": [of(&taken[0], json!({"reason": ""}))]}),
            409,
            "out_of_order",
        ),
        (
            effect(json!({"event": {"topic": "out"}})),
            400,
            "invalid_event",
        ),
        (
            effect(json!({"event": {"type": "e"}})),
            400,
            "invalid_event",
        ),
        (
            effect(json!({"event": {"type": "e", "topic": "_x"}})),
            422,
            "refused",
        ),
        (
            effect(json!({"event": {"type": "e", "topic": "out"}, "timer": "t"})),
            400,
            "invalid_body",
        ),
        (
            effect(json!({"event": {"type": "e", "topic": "out"}, "after": "soon"})),
            400,
            "invalid_body",
        ),
        (
            effect(json!({"reply": {"type": "e"}, "after": "1s"})),
            400,
            "invalid_body",
        ),
        (effect(json!({})), 400, "invalid_body"),
        (
            with(json!({"state_base64": {"cell": "?"}})),
            400,
            "invalid_body",
        ),
        (with(json!({"state": {"": 1}})), 400, "invalid_body"),
        (with(json!({"colour": 1})), 400, "invalid_body"),
        (json!({"settle": [good], "colour": 1}), 400, "invalid_body"),
        (json!([]), 400, "invalid_body"),
    ] {
        member.commit(body.clone()).await.problem(status, code);
        assert_eq!(payloads(&site, "out").await.len(), 0, "{body}");
        let cell = site.engine.shared().state("g", "orders", "a", "cell").await;
        assert_eq!(cell.unwrap(), None, "{body}");
    }
    member.commit(with(json!({}))).await.ok();
    assert_eq!(payloads(&site, "out").await.len(), 1);
    site.end().await;
}

#[tokio::test]
async fn a_commit_without_an_answer_is_sent_again_and_done_once() {
    let site = Site::start().await;
    orders(&site, &["a:1", "a:2"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let taken = member.take("").await;
    let effect = json!({"effects": [{"event": {"type": "e", "topic": "out"}}]});
    let commit = json!({"id": "c-1", "settle": [of(&taken[0], effect)]});
    assert_eq!(member.commit(commit.clone()).await.ok()["duplicate"], false);
    assert_eq!(member.commit(commit).await.ok()["duplicate"], true);
    assert_eq!(payloads(&site, "out").await.len(), 1);
    site.end().await;
}

#[tokio::test]
async fn deliveries_whose_answer_was_lost_are_taken_again() {
    let site = Site::start().await;
    orders(&site, &["a:1", "b:2"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let lost = member.take("max=2").await;
    orders(&site, &["a:3", "c:4"]).await;
    assert_eq!(ids(&member.take("max=1").await), ["4"]);
    let again = member.take("again=true").await;
    assert_eq!(ids(&again), ["1", "2", "4"]);
    assert_eq!(again[..2], lost[..]);
    assert_eq!(member.take("wait=0s").await.len(), 0);
    site.end().await;
}

#[tokio::test]
async fn a_take_is_bounded_by_events_and_bytes() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let big = "x".repeat(10_000);
    for id in 0..6 {
        let more = format!(r#","topic":"orders","subject":"{id}","data":"{big}""#);
        client
            .event("/v1/events", event(&id.to_string(), &more))
            .await
            .ok();
    }
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    assert_eq!(
        ids(&member.take("bytes=1").await),
        ["0"],
        "one is always possible"
    );
    assert_eq!(ids(&member.take("bytes=25000").await), ["1", "2"]);
    assert_eq!(ids(&member.take("max=1").await), ["3"]);
    assert_eq!(ids(&member.take("").await), ["4", "5"]);
    for query in [
        "max=0",
        "max=10001",
        "bytes=0",
        "wait=61s",
        "wait=x",
        "again=maybe",
        "maximum=1",
    ] {
        let answer = member.try_take(query).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    site.end().await;
}

#[tokio::test]
async fn a_long_poll_is_answered_as_soon_as_there_is_something() {
    let site = Site::start().await;
    let mut member = MemberClient::join(&site, "g", json!({"start": "latest"})).await;
    let taking = tokio::spawn(async move { (member.take("wait=60s").await, member) });
    orders(&site, &["a:1"]).await;
    let (taken, mut member) = taking.await.unwrap();
    assert_eq!(ids(&taken), ["1"]);
    // A commit does not wait for a take that waits.
    let path = member.path.clone();
    let mut other = site.client().await;
    let take = format!("{path}/take?wait=60s");
    let waiting = tokio::spawn(async move { other.send(Method::POST, &take, &[], "").await });
    member.settle(&taken[0], json!({})).await.ok();
    orders(&site, &["a:2"]).await;
    let second = waiting.await.unwrap().ok();
    assert_eq!(second["deliveries"][0]["event"]["id"], "2");
    site.end().await;
}

#[tokio::test]
async fn a_new_group_starts_where_it_was_asked_to() {
    let site = Site::start().await;
    orders(&site, &["a:1", "b:2"]).await;
    let mut latest = MemberClient::join(&site, "latest", json!({"start": "latest"})).await;
    let mut second = MemberClient::join(&site, "second", json!({"start": "1"})).await;
    let mut typed = MemberClient::join(&site, "typed", json!({"types": ["other"]})).await;
    orders(&site, &["c:3"]).await;
    assert_eq!(ids(&latest.take("").await), ["3"]);
    let mut rest = Vec::new();
    while rest.len() < 2 {
        rest.extend(second.take("").await);
    }
    assert_eq!(ids(&rest), ["2", "3"]);
    assert_eq!(typed.take("wait=0s").await.len(), 0);
    let mut client = site.client().await;
    for (body, status, code) in [
        (
            json!({"topics": ["orders"], "start": "77"}),
            400,
            "beyond_end",
        ),
        (
            json!({"topics": ["orders"], "start": "soon"}),
            400,
            "invalid_body",
        ),
        (
            json!({"topics": ["orders"], "types": []}),
            400,
            "invalid_body",
        ),
        (json!({"topics": []}), 400, "invalid_body"),
        (json!({"topics": ["or ders"]}), 400, "invalid_body"),
        (
            json!({"topics": ["orders"], "lease": "1ms"}),
            400,
            "invalid_body",
        ),
        (
            json!({"topics": ["orders"], "lease": "2h"}),
            400,
            "invalid_body",
        ),
        (
            json!({"topics": ["orders"], "in_flight_max": 0}),
            400,
            "invalid_body",
        ),
        (
            json!({"topics": ["orders"], "key_events_max": 101}),
            400,
            "invalid_body",
        ),
        (
            json!({"topics": ["orders"], "colour": 1}),
            400,
            "invalid_body",
        ),
        (json!({}), 400, "invalid_body"),
    ] {
        let answer = post(&mut client, "/v1/groups/new/members", &body).await;
        answer.problem(status, code);
    }
    let groups = client.get("/v1/groups/new").await;
    groups.problem(404, "unknown_group");
    site.end().await;
}

#[tokio::test]
async fn effects_for_later_are_scheduled_moved_and_cancelled() {
    let site = Site::start().await;
    orders(&site, &["a:1", "b:2", "c:3"]).await;
    let mut member = MemberClient::join(&site, "g", json!({})).await;
    let taken = member.take("").await;
    let later = |id: u64, more: Value| {
        let mut effect = json!({"event": {"type": "due", "topic": "later", "data": id}});
        effect
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        effect
    };
    let set = json!({"effects": [
        later(1, json!({"at": "2100-01-01T00:00:00Z", "timer": "t"})),
        later(2, json!({"after": "1000h", "timer": "u"})),
        later(3, json!({"at": "2100-01-03T00:00:00Z"})),
    ]});
    member.settle(&taken[0], set).await.ok();
    let at = async |client: &mut Client| {
        let all = client.get("/v1/schedules").await.ok()["schedules"].clone();
        let all = all.as_array().unwrap().clone();
        all.into_iter()
            .map(|it| it["at"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let scheduled = at(&mut member.client).await;
    assert_eq!(
        scheduled[1..],
        ["2100-01-01T00:00:00Z", "2100-01-03T00:00:00Z"]
    );
    let move_one = json!({"effects": [
        later(1, json!({"at": "2100-01-04T00:00:00Z", "timer": "t"})),
        {"cancel": "u"},
    ]});
    member.settle(&taken[1], move_one).await.ok();
    let scheduled = at(&mut member.client).await;
    assert_eq!(scheduled, ["2100-01-03T00:00:00Z", "2100-01-04T00:00:00Z"]);
    let cancel = json!({"effects": [{"cancel": "t", "source": "/services/g"}]});
    member.settle(&taken[2], cancel).await.ok();
    assert_eq!(at(&mut member.client).await, ["2100-01-03T00:00:00Z"]);
    site.end().await;
}

#[tokio::test]
async fn bodies_that_are_garbage_are_problems() {
    let site = Site::start().await;
    let member = MemberClient::join(&site, "g", json!({})).await;
    let mut client = site.client().await;
    let headers = [("content-type", "application/json")];
    const LETTERS: &[u8] = b"{}[]\",:0a\\\xff\x00 settlretopicns";
    let mut random = 0x9e37_79b9_u64;
    for path in [
        "/v1/groups/g/members".to_owned(),
        format!("{}/commit", member.path),
    ] {
        for round in 0..200 {
            let mut body = Vec::new();
            for _ in 0..(round % 40) {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                body.push(LETTERS[(random >> 33) as usize % LETTERS.len()]);
            }
            let answer = client
                .send(Method::POST, &path, &headers, body.clone())
                .await;
            assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(&body));
            answer.problem(400, "invalid_body");
        }
    }
    site.end().await;
}
