//! Stopping takes nothing more: what has not begun is handed back, what has begun finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ensue::HandlerOptions;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::*;

/// An app whose handler counts and then waits to be let go, and how many have begun.
async fn waiting(
    engine: &SharedEngine,
    options: HandlerOptions,
) -> (ensue::Running, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (passed, count) = (gate.clone(), begun.clone());
    let app = App::new(engine.clone())
        .on_with(GROUP, options, move |_: Thing, _| {
            let (gate, begun) = (passed.clone(), count.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
            }
        })
        .start()
        .await
        .unwrap();
    (app, gate, begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_begins_none_of_the_events_that_wait_for_their_key() {
    let engine = ensue::connect("memory:").await.unwrap();
    publish(&engine, (0..4_000).map(|n| thing("k", n))).await;
    let (app, gate, begun) = waiting(&engine, HandlerOptions::default()).await;
    until(&engine, |_| begun.load(Ordering::SeqCst) == 1).await;
    let mut stop = Box::pin(app.stop());
    assert!((&mut stop).now_or_never().is_none(), "a handler runs");
    gate.add_permits(4_000);
    stop.await.unwrap();
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    let status = engine.status().await.unwrap();
    let group = status.group(GROUP).unwrap();
    assert_eq!((group.lag, group.in_flight), (3_999, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_begins_none_of_the_events_that_wait_for_their_handlers_turn() {
    let engine = ensue::connect("memory:").await.unwrap();
    publish(&engine, (0..100).map(|n| thing(&format!("k{n}"), n))).await;
    let options = HandlerOptions::default().concurrency(1);
    let (app, gate, begun) = waiting(&engine, options).await;
    until(&engine, |status| {
        let held = status.group(GROUP).map_or(0, |group| group.in_flight);
        begun.load(Ordering::SeqCst) == 1 && held == 100
    })
    .await;
    let mut stop = Box::pin(app.stop());
    assert!((&mut stop).now_or_never().is_none(), "a handler runs");
    gate.add_permits(100);
    stop.await.unwrap();
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    let status = engine.status().await.unwrap();
    assert_eq!(status.group(GROUP).unwrap().lag, 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_is_handled_in_order_by_the_next() {
    let engine = ensue::connect("memory:").await.unwrap();
    publish(&engine, (0..200).map(|n| thing("k", n))).await;
    let (app, gate, begun) = waiting(&engine, HandlerOptions::default()).await;
    until(&engine, |_| begun.load(Ordering::SeqCst) == 1).await;
    gate.add_permits(50);
    until(&engine, |_| begun.load(Ordering::SeqCst) == 51).await;
    let mut stop = Box::pin(app.stop());
    assert!((&mut stop).now_or_never().is_none(), "a handler runs");
    gate.add_permits(1);
    stop.await.unwrap();
    let next = App::new(engine.clone())
        .on(GROUP, |thing: Thing| async move { followed(&thing, "") })
        .start()
        .await
        .unwrap();
    settled(&engine).await;
    next.stop().await.unwrap();
    let numbers: Vec<u32> = all_followed(&engine)
        .await
        .iter()
        .map(|it| it.number)
        .collect();
    assert_eq!(numbers, (51..200).collect::<Vec<_>>());
}
