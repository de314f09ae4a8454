//! What happened keeps the time at which it happened, whenever it was told.

use std::collections::BTreeMap;

use ensue::engine::Query;

use crate::shop::Shop;

#[tokio::test]
async fn events_have_the_recorded_times() {
    let shop = Shop::with_every_kind_of_order(1);
    shop.run(&["--engine", "embedded:log"]);
    let log = format!("embedded:{}", shop.directory().join("log").display());
    let engine = ensue::connect(&log).await.unwrap();
    let query = Query {
        key: Some("canceled-7-0".into()),
        ..Query::default()
    };
    let page = engine.read(query).await.unwrap();
    let events = page.events.iter().map(|event| &event.envelope);
    let times: BTreeMap<_, _> = events
        .map(|event| (event.event_type(), event.time().to_string()))
        .collect();
    let expected = [
        ("order.placed", "2017-10-02T10:56:00Z"),
        ("order.created", "2017-10-02T10:56:00Z"),
        ("order.payment", "2017-10-02T11:07:00Z"),
        ("order.processing", "2017-10-02T11:07:00Z"),
        // Earlier than the step before: that is what the file says.
        ("order.shipped", "2017-10-01T09:05:00Z"),
        ("order.signed", "2017-10-10T21:25:00Z"),
        ("order.signed_received", "2017-10-10T21:25:00Z"),
        ("order.updated", "2017-10-10T21:25:00Z"),
    ];
    assert_eq!(
        times,
        expected.map(|(kind, time)| (kind, time.to_owned())).into()
    );
}
