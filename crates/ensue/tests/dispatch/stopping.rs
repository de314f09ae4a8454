//! What becomes of handlers when the app stops.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_handlers_finish_and_commits_them() {
    let engine = ensue::connect("memory:").await.unwrap();
    let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, ends) = (begun.clone(), may_end.clone());
    let app = App::new(engine.clone())
        .on("slow", move |step: StepTaken| {
            let (begins, ends) = (begins.clone(), ends.clone());
            async move {
                begins.notify_one();
                ends.notified().await;
                StepCounted {
                    walker: step.walker,
                    total: step.number,
                }
            }
        })
        .start()
        .await
        .unwrap();
    app.publisher("/test").publish(step("w", 1)).await.unwrap();
    begun.notified().await;
    let stopping = tokio::spawn(app.stop());
    // It waits for the handler, and goes on waiting.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!stopping.is_finished());
    may_end.notify_one();
    stopping.await.unwrap().unwrap();
    let status = engine.status().await.unwrap();
    assert!(status.group("slow").unwrap().is_idle());
    assert!(status.group("slow").unwrap().members.is_empty());
    assert_eq!(
        status
            .topics
            .iter()
            .find(|topic| topic.name == "counts")
            .unwrap()
            .events,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_beyond_its_deadline_and_loses_nothing() {
    let engine = ensue::connect("memory:").await.unwrap();
    let begun = Arc::new(Notify::new());
    let start = || {
        let begins = begun.clone();
        App::new(engine.clone())
            .shutdown_deadline(Duration::from_millis(100))
            .on("slow", move |_: StepTaken| {
                begins.notify_one();
                std::future::pending::<()>()
            })
            .start()
    };
    let app = start().await.unwrap();
    app.publisher("/test").publish(step("w", 1)).await.unwrap();
    begun.notified().await;
    let stopped = tokio::time::timeout(Duration::from_secs(300), app.stop()).await;
    stopped.expect("it waits for ever").unwrap();
    let status = engine.status().await.unwrap();
    assert_eq!(
        status.group("slow").unwrap().lag,
        1,
        "it will be delivered again"
    );
}
