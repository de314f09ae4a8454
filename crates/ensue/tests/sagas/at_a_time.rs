//! One process of a key at a time, and one step of it.

use ensue::SagaPhase;
use ensue::prelude::*;

use super::{Trip, TripRequested, World, path, pay, request, start, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_process_at_a_time() {
    let world = World::default();
    let app = start(&world).await;
    let request = async || {
        let request = TripRequested { trip: "t".into() };
        app.publish(request).await.unwrap();
        app.settle().await.unwrap();
    };
    request().await;
    request().await;
    assert_eq!(world.done(), ["t +flight"]);
    pay(&app, "t").await;
    app.settle().await.unwrap();
    assert_eq!(path(&app, "t").await.last().unwrap(), "done");
    request().await;
    let flights = world.done().iter().filter(|it| *it == "t +flight").count();
    assert_eq!(flights, 2, "the next one has begun");
    let waiting = Some((SagaPhase::Waiting, "payment".into()));
    assert_eq!(status(&app, "t").await, waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_and_timeouts_of_before_change_nothing() {
    let world = World::default();
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    let (calls, waiting) = (world.calls(), status(&app, "t").await);
    for (event_type, payload) in [
        (
            "saga.step",
            r#"{"saga":"trips","step":0,"name":"flight","undo":false}"#,
        ),
        (
            "saga.step",
            r#"{"saga":"trips","step":0,"name":"flight","undo":true}"#,
        ),
        (
            "saga.step",
            r#"{"saga":"trips","step":2,"name":"hotel","undo":false}"#,
        ),
        (
            "saga.timeout",
            r#"{"saga":"trips","name":"payment","wait":0}"#,
        ),
    ] {
        let stale = Envelope::builder("sagas.trips", event_type)
            .key("t")
            .payload(ensue::Codec::Json, payload.as_bytes().to_vec());
        app.publish(Outgoing::raw(stale)).await.unwrap();
        app.settle().await.unwrap();
        assert_eq!(world.calls(), calls, "{payload}");
        assert_eq!(status(&app, "t").await, waiting, "{payload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_attempt_has_noted_does_not_count() {
    let world = World::default();
    world.refuse("+hotel");
    world.fail("-hotel");
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    pay(&app, "t").await;
    app.settle().await.unwrap();
    let parked = app
        .engine()
        .saga::<Trip>("trips", "t")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((parked.phase, parked.number), (SagaPhase::Undoing, 2));
    assert_eq!(parked.reason.as_deref(), Some("+hotel is refused"));
    assert_eq!(parked.state.noted, ["flight"]);
}
