//! Events that cannot be applied.

use ensue::engine::{DeadLetter, DeadLetterFilter, DeathCause};
use ensue::prelude::*;
use ensue::{Codec, Envelope};

use crate::balances::{PANICS, REFUSED, model, publish, publish_one, until, verify};

async fn letters(engine: &Engine) -> Vec<DeadLetter> {
    let all = DeadLetterFilter::default();
    engine.dead_letters(Some("balances"), all).await.unwrap()
}

/// Half of what a method did when it panicked is not seen by anyone; the event is a dead letter that says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_applied_is_left_out_and_is_a_dead_letter() {
    let engine = Engine::open("memory:").await.unwrap();
    publish(&engine, 1_200).await;
    // One in the history, one that comes while it runs.
    publish_one(&engine, "trouble", PANICS).await;
    publish(&engine, 30).await;
    let running = model().start(&engine).await.unwrap();
    publish_one(&engine, "trouble", 7).await;
    let refused = publish_one(&engine, "trouble", REFUSED).await;
    let panics = publish_one(&engine, "trouble", PANICS).await;
    let odd = Envelope::builder("transfers", "money.moved").key("trouble");
    let odd = odd.payload(Codec::Json, b"{}".to_vec());
    let odd = engine.publish(Outgoing::raw(odd)).await.unwrap().position;
    let last = publish_one(&engine, "trouble", 5).await;
    verify(&engine, &running, last).await;
    assert_eq!(running.read(|it| it.cents["trouble"]).unwrap(), 12);
    engine.settled(["balances"]).await.unwrap();
    until("all of them are dead letters", async || {
        letters(&engine).await.len() == 4
    })
    .await;
    let letters = letters(&engine).await;
    let of = |position| letters.iter().find(|it| it.position == position).unwrap();
    assert!(of(refused).reason.contains("it is refused"));
    assert!(of(panics).reason.contains("half of it is done"));
    assert_eq!(of(odd).cause, DeathCause::Undecodable);
    assert!(letters.iter().all(|it| it.attempts == 1));
    running.stop().await.unwrap();
}
