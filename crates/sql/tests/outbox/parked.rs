//! Rows that no engine takes.

use ensue::prelude::*;
use ensue_sql::{Database, Value};

use super::shop::Shop;

async fn write<DB: Database>(shop: &Shop<DB>, topic: &str, key: &str, number: u32) {
    let insert = "INSERT INTO ensue_outbox (topic, type, event_key, data) VALUES (?, ?, ?, ?)";
    let data = Value::Bytes(number.to_string().into_bytes());
    shop.run(
        insert,
        &[topic.into(), "thing.done".into(), key.into(), data],
    )
    .await;
}

/// The payloads of a topic, in order.
async fn payloads(engine: &Engine, topic: &str) -> Vec<String> {
    let mut events = engine.read(ensue::engine::Query {
        topics: Some(topic.parse().unwrap()),
        ..Default::default()
    });
    let mut payloads = Vec::new();
    while let Some(event) = events.next().await {
        let payload = event.unwrap().envelope.payload().to_vec();
        payloads.push(String::from_utf8(payload).unwrap());
    }
    payloads
}

/// The third row is larger than an event may be. It is mended where it is parked, and handed back.
pub(crate) async fn a_row_that_is_refused_holds_up_its_key_alone<DB: Database>(shop: &Shop<DB>) {
    let engine = Engine::open("memory:").await.unwrap();
    let mut relay = shop.outbox.relay(&engine);
    write(shop, "things", "a", 1).await;
    write(shop, "things", "b", 1).await;
    let insert = "INSERT INTO ensue_outbox (topic, type, event_key, data) VALUES (?, ?, ?, ?)";
    let large = Value::Bytes(vec![b'1'; ensue::PAYLOAD_BYTES_MAX + 1]);
    let values = ["things".into(), "thing.done".into(), "a".into(), large];
    shop.run(insert, &values).await;
    write(shop, "things", "a", 3).await;
    write(shop, "things", "b", 2).await;
    relay.run_until_empty().await.unwrap();
    write(shop, "things", "a", 4).await;
    write(shop, "things", "b", 3).await;
    relay.run_until_empty().await.unwrap();

    assert_eq!(
        payloads(&engine, "things").await,
        ["1", "1", "2", "3"],
        "b is not held up"
    );
    let status = shop.outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.refused, status.behind), (0, 1, 2));
    let parked = shop.outbox.parked(10).await.unwrap();
    assert_eq!((parked.len(), parked[0].key.as_str()), (1, "a"));
    assert!(parked[0].reason.contains("8388609"), "{}", parked[0].reason);

    let mend = "UPDATE ensue_outbox_parked SET data = ? WHERE id = ?";
    let row = parked[0].row;
    shop.run(mend, &[Value::Bytes(b"2".to_vec()), row.into()])
        .await;
    write(shop, "things", "a", 5).await;
    assert_eq!(shop.outbox.retry(row).await.unwrap(), 3);
    assert_eq!(
        shop.outbox.retry(row).await.unwrap(),
        0,
        "it is not parked any more"
    );
    relay.run_until_empty().await.unwrap();
    let all = payloads(&engine, "things").await;
    assert_eq!(
        all[4..],
        ["2", "3", "4", "5"],
        "in the order in which they were written"
    );
    let status = shop.outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.refused, status.behind), (0, 0, 0));
}

/// A topic that is none.
pub(crate) async fn what_was_discarded_lets_the_others_go<DB: Database>(shop: &Shop<DB>) {
    let engine = Engine::open("memory:").await.unwrap();
    let mut relay = shop.outbox.relay(&engine);
    write(shop, "no topic", "a", 1).await;
    write(shop, "no topic", "a", 2).await;
    write(shop, "_outbox", "a", 1).await;
    write(shop, "things", "a", 1).await;
    relay.run_until_empty().await.unwrap();
    assert_eq!(payloads(&engine, "things").await, ["1"]);
    let parked = shop.outbox.parked(10).await.unwrap();
    assert_eq!(parked.len(), 2);
    assert!(parked[0].reason.contains("topic"), "{}", parked[0].reason);
    assert!(shop.outbox.discard(parked[0].row).await.unwrap());
    assert!(!shop.outbox.discard(parked[0].row).await.unwrap(), "once");
    relay.run_until_empty().await.unwrap();
    let parked = shop.outbox.parked(10).await.unwrap();
    let mut topics: Vec<_> = parked.iter().map(|it| it.topic.as_str()).collect();
    topics.sort_unstable();
    assert_eq!(
        topics,
        ["_outbox", "no topic"],
        "the second of its key is refused itself"
    );
    let status = shop.outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.refused, status.behind), (0, 2, 0));
}
