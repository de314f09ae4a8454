//! What a consumer holds, whatever becomes of those who ask it.

use super::*;
use crate::effect::Effects;
use crate::engine::{Append, DeadLetterFilter, Start};
use crate::event::{Codec, Envelope};
use crate::{Outgoing, connect};

async fn engine(events: &[(&str, &str)]) -> Engine {
    let engine = Engine::from(connect("memory:").await.unwrap());
    let event = |(id, key): &(&str, &str)| {
        let builder = Envelope::builder("t", "e").id(*id).key(*key);
        let builder = builder.payload(Codec::Json, b"{}".to_vec());
        Append::from(builder.build().unwrap())
    };
    engine
        .append(events.iter().map(event).collect())
        .await
        .unwrap();
    engine
}

async fn join(engine: &Engine, key_events_max: usize) -> Consumer {
    let subscription = Subscription {
        group: "g".into(),
        topics: vec!["t".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 100,
    };
    Consumer::join(engine, subscription, key_events_max)
        .await
        .unwrap()
}

fn wanted(events_max: usize) -> Wanted {
    Wanted {
        events_max,
        bytes_max: usize::MAX,
        cells: Vec::new(),
        again: false,
    }
}

fn ids(taken: &[Taken]) -> Vec<&str> {
    taken.iter().map(|it| it.delivery.envelope.id()).collect()
}

fn settled(taken: &Taken) -> Handled {
    let effect = Envelope::builder("out", "done").payload(Codec::Json, b"1".to_vec());
    Handled {
        position: taken.delivery.position,
        generation: taken.delivery.generation,
        outcome: Outcome::Settled(Effects::none().publish(Outgoing::raw(effect))),
    }
}

/// Polls a future once and drops it, unless it is ready.
async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_take_that_is_given_up_loses_nothing() {
    let engine = engine(&[("1", "a"), ("2", "b"), ("3", "c")]).await;
    let consumer = join(&engine, 1).await;
    let mut all = Vec::new();
    while all.len() < 3 {
        if let Some(taken) = once(consumer.take(&wanted(1))).await {
            all.extend(ids(&taken.unwrap()).into_iter().map(str::to_owned));
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(all, ["1", "2", "3"]);
    assert_eq!(consumer.held(), 3);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_commit_that_is_given_up_goes_on_and_is_done_once() {
    let engine = engine(&[("1", "a"), ("2", "a")]).await;
    let consumer = join(&engine, 1).await;
    let taken = consumer.take(&wanted(9)).await.unwrap();
    let commit = || consumer.commit(Some("c".into()), vec![settled(&taken[0])]);
    assert!(once(commit()).await.is_none());
    let done = commit().await.unwrap();
    assert!(done.is_repeated);
    assert_eq!(ids(&consumer.take(&wanted(9)).await.unwrap()), ["2"]);
    let mut out = engine.read(crate::engine::Query {
        topics: Some("out".parse().unwrap()),
        ..crate::engine::Query::default()
    });
    assert!(out.next().await.is_some() && out.next().await.is_none());
    engine.close().await.unwrap();
}

#[tokio::test]
async fn of_each_key_the_first_event_of_a_handler_that_is_gone_has_had_an_attempt() {
    let engine = engine(&[("1", "a"), ("2", "a"), ("3", "b"), ("4", "c")]).await;
    let gone = join(&engine, 2).await;
    assert_eq!(ids(&gone.take(&wanted(3)).await.unwrap()), ["1", "2", "3"]);
    gone.abandon().await.unwrap();
    let next = join(&engine, 2).await;
    let mut attempts = Vec::new();
    while attempts.len() < 4 {
        let taken = next.take(&wanted(9)).await.unwrap();
        let of = |it: &Taken| (it.delivery.envelope.id().to_owned(), it.delivery.attempt);
        attempts.extend(taken.iter().map(of));
        // What waited behind a failure comes when that is settled.
        let all = taken.iter().map(settled).collect();
        next.commit(None, all).await.unwrap();
    }
    attempts.sort();
    let expected = [("1", 2), ("2", 1), ("3", 2), ("4", 1)];
    assert_eq!(
        attempts,
        expected.map(|(id, attempt)| (id.to_owned(), attempt))
    );
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_is_handed_back_with_a_failure_comes_behind_it() {
    let engine = engine(&[("1", "a"), ("2", "a"), ("3", "a")]).await;
    let consumer = join(&engine, 2).await;
    let taken = consumer.take(&wanted(9)).await.unwrap();
    assert_eq!(ids(&taken), ["1", "2"], "3 is held, and not given");
    let dead = Handled {
        position: taken[0].delivery.position,
        generation: taken[0].delivery.generation,
        outcome: Outcome::Dead {
            cause: DeathCause::Rejected,
            reason: "no".into(),
            on_dead: OnDead::Park,
        },
    };
    let done = consumer.commit(None, vec![dead]).await.unwrap();
    assert_eq!(done.handed_back.len(), 2);
    assert_eq!((consumer.held(), consumer.bytes()), (0, 0));
    let stale = consumer.commit(None, vec![settled(&taken[1])]).await;
    assert!(matches!(stale, Err(Refused::Stale { .. })), "{stale:?}");
    let letters = engine.dead_letters(Some("g"), DeadLetterFilter::default());
    assert_eq!(letters.await.unwrap()[0].parked, 2);
    engine
        .redrive("g", DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!(ids(&consumer.take(&wanted(1)).await.unwrap()), ["1"]);
    engine.close().await.unwrap();
}
