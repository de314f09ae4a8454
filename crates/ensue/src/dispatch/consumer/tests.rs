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
    join_with(engine, key_events_max, &Suspects::default()).await
}

async fn join_with(engine: &Engine, key_events_max: usize, suspects: &Suspects) -> Consumer {
    let subscription = Subscription {
        group: "g".into(),
        topics: vec!["t".parse().unwrap()],
        types: None,
        start: Start::Earliest,
        in_flight_max: 100,
    };
    let options = ConsumerOptions {
        key_events_max,
        suspects: suspects.clone(),
        ..ConsumerOptions::default()
    };
    Consumer::join(engine, subscription, options).await.unwrap()
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

/// Consumes as handlers do that an event named `poison` ends, until that has been tried `attempts` times.
/// Gives how many handlers that took, and the highest attempt that each other event was given with.
async fn poisoned(engine: &Engine, attempts: u32) -> (usize, Vec<(String, u32)>) {
    let suspects = Suspects::default();
    let mut others = std::collections::BTreeMap::new();
    for handlers in 0.. {
        let consumer = join_with(engine, 2, &suspects).await;
        loop {
            let taken = consumer.take(&wanted(9)).await.unwrap();
            let is_poison = |it: &&Taken| it.delivery.envelope.id() == "poison";
            for other in taken.iter().filter(|it| !is_poison(it)) {
                let id = other.delivery.envelope.id().to_owned();
                let attempt = others.entry(id).or_insert(0);
                *attempt = other.delivery.attempt.max(*attempt);
            }
            match taken.iter().find(is_poison) {
                None => {
                    let all = taken.iter().map(settled).collect();
                    consumer.commit(None, all).await.unwrap();
                }
                Some(poison) if poison.delivery.attempt > attempts => {
                    return (handlers, others.into_iter().collect());
                }
                Some(_) => break,
            }
        }
        consumer.abandon().await.unwrap();
    }
    unreachable!("it goes on until the event was tried often enough")
}

#[tokio::test]
async fn what_ends_its_handlers_counts_attempts_and_what_they_had_beside_it_does_not() {
    let engine = engine(&[
        ("1", "a"),
        ("poison", "b"),
        ("2", "c"),
        ("3", "b"),
        ("4", "a"),
    ])
    .await;
    let (handlers, others) = poisoned(&engine, 3).await;
    // Two that had others as well, and three that had nothing else.
    assert_eq!(handlers, 5);
    // What is behind it in its key comes after it.
    let expected = ["1", "2", "4"].map(|id| (id.to_owned(), 1));
    let others: Vec<_> = others.into_iter().filter(|(id, _)| id != "3").collect();
    assert_eq!(others, expected);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_a_handler_has_when_it_is_lost_once_is_given_again_as_before() {
    let engine = engine(&[("1", "a"), ("2", "a"), ("3", "b"), ("4", "c")]).await;
    let suspects = Suspects::default();
    let gone = join_with(&engine, 2, &suspects).await;
    assert_eq!(ids(&gone.take(&wanted(3)).await.unwrap()), ["1", "2", "3"]);
    gone.abandon().await.unwrap();
    let next = join_with(&engine, 2, &suspects).await;
    let taken = next.take(&wanted(9)).await.unwrap();
    assert_eq!(ids(&taken), ["1", "2", "3", "4"]);
    assert!(taken.iter().all(|it| it.delivery.attempt == 1));
    next.commit(None, taken.iter().map(settled).collect())
        .await
        .unwrap();
    assert!(suspects.is_empty());
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_a_handler_had_alone_when_it_was_lost_was_tried_and_comes_alone() {
    let engine = engine(&[("1", "a"), ("2", "a"), ("3", "b")]).await;
    let suspects = Suspects::default();
    let gone = join_with(&engine, 2, &suspects).await;
    assert_eq!(ids(&gone.take(&wanted(1)).await.unwrap()), ["1"]);
    gone.abandon().await.unwrap();
    let next = join_with(&engine, 2, &suspects).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let taken = next.take(&wanted(9)).await.unwrap();
        let of = |it: &Taken| (it.delivery.envelope.id().to_owned(), it.delivery.attempt);
        let is_alone = taken.len() == 1;
        for one in taken.iter().map(of) {
            assert!(is_alone || one.0 != "1", "{seen:?}");
            seen.push(one);
        }
        let all = taken.iter().map(settled).collect();
        next.commit(None, all).await.unwrap();
    }
    seen.sort();
    let expected = [("1", 2), ("2", 1), ("3", 1)];
    assert_eq!(seen, expected.map(|(id, attempt)| (id.to_owned(), attempt)));
    assert!(suspects.is_empty());
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
