//! When an app has settled.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_app_has_handled_what_was_published_and_all_that_followed() {
    let engine = Engine::open("memory:").await.unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let soon = Duration::from_millis(5);
    let mut app = App::new(engine.clone())
        .on_with(
            "walk",
            HandlerOptions::default().attempts(2).backoff(soon, soon),
            move |step: StepTaken, context: Context| {
                let stumbles = context.attempt() == 1 && step.number.is_multiple_of(2);
                async move {
                    if step.walker == "dead" {
                        return Err("never");
                    }
                    match stumbles {
                        true => Err("not yet"),
                        false => Ok(StepCounted {
                            walker: step.walker,
                            total: step.number,
                        }),
                    }
                }
            },
        )
        .on("count", move |_: StepCounted| {
            let counted = counted.clone();
            async move {
                tokio::task::yield_now().await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .start()
        .await
        .unwrap();
    app.settled().await.unwrap();
    for round in 1..=3 {
        let keys = ["a", "b", "c", "dead"];
        let steps = keys.iter().flat_map(|key| (0..10).map(|n| step(key, n)));
        engine.publisher("/test").publish_all(steps).await.unwrap();
        app.settled().await.unwrap();
        assert_eq!(handled.load(Ordering::SeqCst), round * 30);
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_whose_service_cannot_go_on_does_not_settle() {
    let engine = Engine::open("memory:").await.unwrap();
    let mut app = App::new(engine.clone())
        .on("watch", async |_: StepTaken| {
            std::future::pending::<()>().await
        })
        .start()
        .await
        .unwrap();
    engine.publish(step("w", 1)).await.unwrap();
    let (settled, closed) = tokio::join!(app.settled(), engine.close());
    closed.unwrap();
    settled.unwrap_err();
}
