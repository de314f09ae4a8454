//! Pages of events.

use ensue::engine::Append;
use ensue::{Codec, Envelope};
use ensue_server::Config;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::site::{Site, event};

fn stored(topic: &str, kind: &str, key: &str, id: usize, payload: &str) -> Append {
    let builder = Envelope::builder(topic, kind)
        .key(key)
        .id(id.to_string())
        .source("/shop");
    let builder = builder.extension("shard", i32::try_from(id).unwrap());
    builder
        .payload(Codec::Json, payload.into())
        .build()
        .unwrap()
        .into()
}

/// `count` events: every second one an order, every tenth of `o-0`.
async fn site_with(count: usize, config: Config) -> Site {
    let site = Site::with(config).await;
    let of = |id: usize| {
        let kinds = [("orders", "order.created"), ("photos.cats", "photo.taken")];
        let (topic, kind) = kinds[id % 2];
        stored(topic, kind, &format!("o-{}", id % 10), id, "1.10")
    };
    let batch = (0..count).map(of).collect();
    site.engine.append(batch).await.unwrap();
    site
}

fn ids(events: &Value) -> Vec<usize> {
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| event["id"].as_str().unwrap().parse().unwrap())
        .collect()
}

async fn read(client: &mut Client, query: &str) -> Value {
    client.get(&format!("/v1/events?{query}")).await.ok()
}

#[tokio::test]
async fn pages_go_on_from_their_cursor_and_give_every_event_once() {
    let site = site_with(250, Config::default()).await;
    let mut client = site.client().await;
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(&mut client, &format!("limit=70{cursor}")).await;
        all.extend(ids(&page["events"]));
        cursor = format!("&cursor={}", page["cursor"].as_str().unwrap());
        if page["end"] == true {
            break;
        }
    }
    assert_eq!(all, (0..250).collect::<Vec<_>>());
    let page = read(&mut client, &cursor[1..]).await;
    assert_eq!(
        (ids(&page["events"]).len(), &page["end"]),
        (0, &json!(true))
    );
    client
        .event("/v1/events?topic=t", event("250", ""))
        .await
        .ok();
    assert_eq!(ids(&read(&mut client, &cursor[1..]).await["events"]), [250]);
    site.end().await;
}

#[tokio::test]
async fn events_are_chosen_by_topic_key_type_position_and_time() {
    let site = site_with(40, Config::default()).await;
    let mut client = site.client().await;
    let positions: Vec<_> = site.events().await.iter().map(|it| it.position).collect();
    let count = |of: fn(usize) -> bool| (0..40).filter(|id| of(*id)).collect::<Vec<_>>();
    for (query, expected) in [
        ("topic=orders", count(|id| id % 2 == 0)),
        ("topic=photos.*", count(|id| id % 2 == 1)),
        ("topic=%3E", count(|_| true)),
        ("topic=none", vec![]),
        ("key=o-3", count(|id| id % 10 == 3)),
        ("key=o-3&topic=orders", vec![]),
        ("type=photo.taken", count(|id| id % 2 == 1)),
        ("type=photo.taken&type=order.created", count(|_| true)),
        ("from=2100-01-01T00:00:00Z", vec![]),
        (
            "from=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z",
            count(|_| true),
        ),
        ("until=2000-01-01T00:00:00Z", vec![]),
        ("from=latest", vec![]),
        ("from=earliest&limit=2", vec![0, 1]),
    ] {
        let page = read(&mut client, query).await;
        assert_eq!(ids(&page["events"]), expected, "{query}");
        assert_eq!(page["end"], expected != [0, 1], "{query}");
    }
    let query = format!("from={}&until={}", positions[7], positions[9]);
    assert_eq!(ids(&read(&mut client, &query).await["events"]), [7, 8]);
    site.end().await;
}

#[tokio::test]
async fn a_filter_in_cloudevents_sql_goes_over_the_attributes() {
    let site = site_with(40, Config::default()).await;
    let mut client = site.client().await;
    for (filter, expected) in [
        ("shard%20%3E%3D%2038", vec![38, 39]),
        (
            "type%20LIKE%20'order.%25'%20AND%20subject%20%3D%20'o-2'",
            vec![2, 12, 22, 32],
        ),
        (
            "id%20IN%20('7','9')%20AND%20topic%20%3D%20'photos.cats'",
            vec![7, 9],
        ),
        ("EXISTS%20causationid", vec![]),
    ] {
        let page = read(&mut client, &format!("filter={filter}")).await;
        assert_eq!(ids(&page["events"]), expected, "{filter}");
        assert_eq!(page["filter_errors"]["count"], 0);
    }
    let page = read(&mut client, "filter=missing%20%3D%20'x'").await;
    assert_eq!(page["filter_errors"]["count"], 40);
    let first = page["filter_errors"]["first"].as_str().unwrap();
    assert!(first.contains("missing"), "{first}");
    let problem = client.get("/v1/events?filter=type%20LIKE%207").await;
    let problem = problem.problem(400, "invalid_filter");
    assert_eq!(problem["at"], 10);
    site.end().await;
}

#[tokio::test]
async fn a_page_with_a_filter_goes_on_where_it_was_full() {
    let site = site_with(40, Config::default()).await;
    let mut client = site.client().await;
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let query = format!("limit=3&filter=shard%20%25%203%20%3D%200{cursor}");
        let page = read(&mut client, &query).await;
        assert!(ids(&page["events"]).len() <= 3);
        all.extend(ids(&page["events"]));
        if page["end"] == true {
            break;
        }
        cursor = format!("&cursor={}", page["cursor"].as_str().unwrap());
    }
    assert_eq!(all, (0..40).filter(|id| id % 3 == 0).collect::<Vec<_>>());
    site.end().await;
}

#[tokio::test]
async fn a_scan_stops_at_its_limit_and_says_how_far_it_came() {
    let mut config = Config::default();
    config.limits.scan_events_max = 1000;
    let site = site_with(2500, config).await;
    let mut client = site.client().await;
    let (mut pages, mut cursor) = (0, String::new());
    let found = loop {
        let query = format!("filter=shard%20%3D%202400{cursor}");
        let page = read(&mut client, &query).await;
        assert!(page["scanned"].as_u64().unwrap() <= 1000, "{page}");
        pages += 1;
        if !ids(&page["events"]).is_empty() {
            break ids(&page["events"]);
        }
        assert_eq!(page["end"], false);
        cursor = format!("&cursor={}", page["cursor"].as_str().unwrap());
    };
    assert_eq!((found, pages), (vec![2400], 3));
    site.end().await;
}

#[tokio::test]
async fn an_answer_is_no_larger_than_its_limit_and_an_event() {
    let mut config = Config::default();
    config.limits.answer_bytes_max = 4096;
    let site = Site::with(config).await;
    let payload = format!("\"{}\"", "x".repeat(3000));
    let batch = (0..5)
        .map(|id| stored("t", "e", "k", id, &payload))
        .collect();
    site.engine.append(batch).await.unwrap();
    let mut client = site.client().await;
    let first = read(&mut client, "").await;
    assert_eq!(
        (ids(&first["events"]), &first["end"]),
        (vec![0, 1], &json!(false))
    );
    let cursor = first["cursor"].as_str().unwrap();
    let next = read(&mut client, &format!("cursor={cursor}")).await;
    assert_eq!(ids(&next["events"]), [2, 3]);
    site.end().await;
}

#[tokio::test]
async fn payloads_come_out_byte_by_byte_in_every_format() {
    let site = Site::start().await;
    let payload = r#"{"z":1.10,"a":123456789012345678901234567890,"z":null}"#;
    let raw = Envelope::builder("t", "e").opaque_payload("image/png", vec![0, 255]);
    let batch = vec![
        stored("t", "e", "k", 1, payload),
        raw.build().unwrap().into(),
    ];
    site.engine.append(batch).await.unwrap();
    let mut client = site.client().await;
    let data = format!("\"data\":{payload}");
    let ended = |answer: &Answer| {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["ensue-end"], "true");
        assert_eq!(answer.headers["ensue-cursor"], "2");
        assert!(answer.text().contains(&data), "{}", answer.text());
        assert!(
            answer.text().contains("\"data_base64\":\"AP8=\""),
            "{}",
            answer.text()
        );
    };
    let json = client.get("/v1/events").await;
    ended(&json);
    assert_eq!(json.json()["events"].as_array().unwrap().len(), 2);
    let lines = client.get_as("/v1/events", "application/x-ndjson").await;
    ended(&lines);
    let read = |line: &str| Envelope::from_cloudevent(line.as_bytes(), None).unwrap();
    let events: Vec<_> = lines.text().lines().map(read).collect();
    assert_eq!(events[0].payload(), payload.as_bytes());
    let accept = "text/html, application/cloudevents-batch+json;q=0.9";
    let batch = client.get_as("/v1/events", accept).await;
    ended(&batch);
    assert_eq!(
        batch.headers["content-type"],
        "application/cloudevents-batch+json"
    );
    assert_eq!(
        Envelope::from_cloudevent_batch(&batch.body, None).unwrap(),
        events
    );
    site.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_the_name_of_its_parameter() {
    let site = Site::start().await;
    let mut client = site.client().await;
    for (query, name) in [
        ("topic=a..b", "topic"),
        ("from=yesterday", "from"),
        ("until=earliest", "until"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("cursor=x", "cursor"),
    ] {
        let answer = client.get(&format!("/v1/events?{query}")).await;
        assert_eq!(
            answer.problem(400, "invalid_parameter")["parameter"],
            name,
            "{query}"
        );
    }
    let beyond = client.get("/v1/events?from=17").await;
    assert_eq!(beyond.problem(400, "beyond_end")["end"], "0");
    client
        .get("/v1/events?topics=a")
        .await
        .problem(400, "unknown_parameter");
    site.end().await;
}

#[tokio::test]
async fn a_filter_that_takes_long_ends_its_page_and_goes_on_from_there() {
    const EVENTS: usize = 12;
    let mut config = Config::default();
    config.limits.scan_timeout = std::time::Duration::from_secs(1);
    let site = Site::with(config).await;
    for id in 0..EVENTS {
        let event = Envelope::builder("t", "thing.happened").id(id.to_string());
        let event = event.extension("long", "a".repeat(16_000));
        let event = event.build().unwrap();
        site.engine.append(vec![event.into()]).await.unwrap();
    }
    let slow = vec!["long%20LIKE%20%27%25a_b%25%27"; 200].join("%20OR%20");
    let mut client = site.client().await;
    let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let query = format!("topic=t&filter={slow}%20OR%20TRUE{cursor}");
        let page = read(&mut client, &query).await;
        all.extend(ids(&page["events"]));
        cursor = format!("&cursor={}", page["cursor"].as_str().unwrap());
        pages += 1;
        if page["end"] == true {
            break;
        }
    }
    assert_eq!(all, (0..EVENTS).collect::<Vec<_>>());
    assert!(
        pages > 1,
        "the time of a read is not looked at while it filters"
    );
    site.end().await;
}
