//! What is too large only together is split; what does not fit alone is its own dead letter.

use std::sync::Arc;

use ensue::engine::DeathCause;
use ensue::{HandlerOptions, OnDead};
use tokio::sync::Barrier;

use super::*;

const MIB: usize = 1 << 20;

/// Runs a handler whose calls end all at the same time: `count` keys, an event each.
async fn together(count: usize, effects: fn(&Thing) -> Effects) -> SharedEngine {
    let engine = ensue::connect("memory:").await.unwrap();
    let barrier = Arc::new(Barrier::new(count));
    let app = App::new(engine.clone())
        .on(GROUP, move |thing: Thing| {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
                effects(&thing)
            }
        })
        .start()
        .await
        .unwrap();
    publish(
        &engine,
        (0..count as u32).map(|n| thing(&format!("k{n}"), n)),
    )
    .await;
    let status = settled(&engine).await;
    assert_eq!(status.group(GROUP).unwrap().dead, 0);
    app.stop().await.unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_are_too_large_only_together_are_committed_in_turn() {
    let engine = together(20, |_| {
        Effects::none().set_named_state("doc", "x".repeat(4 * MIB))
    })
    .await;
    for key in 0..20 {
        let key = format!("k{key}");
        let cell = engine.state(GROUP, "things", &key, "doc").await.unwrap();
        assert!(cell.is_some_and(|cell| cell.len() > 4 * MIB), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_too_large_only_together_are_committed_in_turn() {
    let engine = together(20, |thing| {
        Effects::none().publish(followed(thing, &"x".repeat(4 * MIB)))
    })
    .await;
    let status = engine.status().await.unwrap();
    assert_eq!(events(&status, "followers"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_a_commit_alone_is_its_own_dead_letter() {
    let engine = ensue::connect("memory:").await.unwrap();
    let app = App::new(engine.clone())
        .on(GROUP, |thing: Thing| async move {
            let small = followed(&thing, "");
            match thing.key.as_str() {
                "many" => (0..70_000).fold(Effects::none(), |it, _| it.publish(small.clone())),
                "heavy" => {
                    let large = followed(&thing, &"x".repeat(2 * MIB));
                    (0..40).fold(Effects::none(), |it, _| it.publish(large.clone()))
                }
                "cell" => Effects::none().set_named_state("doc", "x".repeat(17 * MIB)),
                "cells" => (0..10).fold(Effects::none(), |it, n| {
                    it.set_named_state(&format!("doc{n}"), "x".repeat(2 * MIB))
                }),
                "cancels" => {
                    (0..60_000).fold(Effects::none(), |it, n| it.cancel(format!("{n:0200}")))
                }
                "control" => Effects::none().publish(Outgoing::new(small).topic("_ensue.groups")),
                _ => Effects::none().publish(small),
            }
        })
        .start()
        .await
        .unwrap();
    let bad = ["many", "heavy", "cell", "cells", "cancels", "control"];
    let keys = (0..50).map(|n| format!("k{n}"));
    let keys = keys.chain(bad.map(str::to_owned));
    publish(
        &engine,
        keys.enumerate().map(|(n, key)| thing(&key, n as u32)),
    )
    .await;
    let status = settled(&engine).await;
    assert_eq!(events(&status, "followers"), 50, "the others go on");
    let mut dead = dead(&engine).await;
    dead.sort_by_key(|it| it.position);
    let keys: Vec<_> = dead.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, bad);
    for (letter, part) in
        dead.iter()
            .zip(["70000", "bytes", "bytes", "bytes", "bytes", "_ensue.groups"])
    {
        assert_eq!((letter.cause, letter.attempts), (DeathCause::Refused, 1));
        assert!(letter.reason.contains(part), "{}", letter.reason);
    }
    assert_eq!(app.metrics().groups()[GROUP].handled, 50);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_schedules_max_only_what_wants_one_more_stops_and_cancels_pass() {
    let engine = ensue::connect("memory:?schedules_max=2").await.unwrap();
    let app = App::new(engine.clone())
        .on(GROUP, |thing: Thing| async move {
            let id = format!("later-{}", thing.number % 10);
            let later = Outgoing::new(followed(&thing, "later")).id(&id);
            let later = later.after(Duration::from_secs(3_600));
            match thing.number {
                0..10 => Effects::none().publish(later),
                10..20 => Effects::none().cancel(id),
                // As many as it cancels.
                _ => Effects::none().cancel("later-1").publish(later),
            }
        })
        .start()
        .await
        .unwrap();
    publish(&engine, [thing("a", 0), thing("b", 1)]).await;
    settled(&engine).await;
    publish(&engine, [thing("c", 2)]).await;
    let status = settled(&engine).await;
    let group = status.group(GROUP).unwrap();
    assert_eq!((status.scheduled, group.dead), (2, 1));
    let letters = dead(&engine).await;
    assert!(
        letters[0].reason.contains("schedules_max") && letters[0].reason.contains("limit"),
        "{}",
        letters[0].reason
    );
    assert_eq!(letters[0].cause, DeathCause::Refused);
    publish(&engine, [thing("d", 29)]).await;
    let status = settled(&engine).await;
    assert_eq!(status.group(GROUP).unwrap().dead, 1, "one for one");
    assert_eq!(status.scheduled, 2);
    publish(&engine, [thing("e", 10), thing("f", 19)]).await;
    settled(&engine).await;
    publish(&engine, [thing("g", 4)]).await;
    let status = settled(&engine).await;
    assert_eq!(status.group(GROUP).unwrap().dead, 1);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_state_bytes_max_only_what_wants_more_stops_and_smaller_values_pass() {
    let engine = ensue::connect("memory:?state_bytes_max=10000")
        .await
        .unwrap();
    let app = App::new(engine.clone())
        .on(GROUP, |thing: Thing| async move {
            match thing.number {
                0 => Effects::none().clear_named_state("doc"),
                bytes => Effects::none().set_named_state("doc", "x".repeat(bytes as usize)),
            }
        })
        .start()
        .await
        .unwrap();
    publish(&engine, [thing("a", 4_000), thing("b", 4_000)]).await;
    settled(&engine).await;
    publish(&engine, (0..20).map(|n| thing(&format!("k{n}"), 4_000))).await;
    let status = settled(&engine).await;
    assert_eq!(status.group(GROUP).unwrap().dead, 20);
    for letter in dead(&engine).await {
        assert!(
            letter.reason.contains("state_bytes_max"),
            "{}",
            letter.reason
        );
    }
    // The same size, many times in one commit, then less, then nothing, then as much for another.
    publish(&engine, (0..50).map(|_| thing("a", 4_000))).await;
    publish(&engine, [thing("a", 100), thing("b", 0)]).await;
    settled(&engine).await;
    publish(&engine, [thing("c", 7_000)]).await;
    let status = settled(&engine).await;
    assert_eq!(status.group(GROUP).unwrap().dead, 20);
    let bytes = |cell: Option<bytes::Bytes>| cell.map_or(0, |cell| cell.len());
    let cell = |key: &'static str| engine.state(GROUP, "things", key, "doc");
    assert!(bytes(cell("a").await.unwrap()) < 200);
    assert_eq!(bytes(cell("b").await.unwrap()), 0);
    assert!(bytes(cell("c").await.unwrap()) >= 7_000);
    app.stop().await.unwrap();
}

/// Events of a key whose first outcome is refused, while the later ones have been handled already
/// and have seen what it wrote.
async fn refused_in_the_middle(on_dead: OnDead) -> SharedEngine {
    let engine = ensue::connect("memory:?state_bytes_max=10000")
        .await
        .unwrap();
    let things = (0..40).flat_map(|n| ["a", "b", "c"].map(|key| thing(key, n)));
    publish(&engine, things).await;
    let options = HandlerOptions::default().on_dead(on_dead);
    let app = App::new(engine.clone())
        .on_with(
            GROUP,
            options,
            |thing: Thing, context: Context| async move {
                let last: Option<u32> = context.named_state("last").await?;
                let last = last.map_or("none".to_owned(), |last| last.to_string());
                if thing.number == 9 {
                    tokio::task::yield_now().await;
                }
                let mut effects = Effects::none().set_named_state("last", thing.number);
                if (thing.key.as_str(), thing.number) == ("b", 7) {
                    effects = effects.set_named_state("doc", "x".repeat(20_000));
                }
                Ok::<_, Failure>(effects.publish(followed(&thing, &last)))
            },
        )
        .start()
        .await
        .unwrap();
    settled(&engine).await;
    app.stop().await.unwrap();
    engine
}

async fn texts_of(engine: &SharedEngine, key: &str) -> Vec<(u32, String)> {
    let all = all_followed(engine).await;
    let mine = all.into_iter().filter(|it| it.key == key);
    mine.map(|it| (it.number, it.text)).collect()
}

fn each_after_the_other(numbers: impl Iterator<Item = u32>) -> Vec<(u32, String)> {
    let mut last = "none".to_owned();
    numbers
        .map(|n| (n, std::mem::replace(&mut last, n.to_string())))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_saw_a_refused_outcome_is_committed_and_its_key_waits() {
    let engine = refused_in_the_middle(OnDead::Park).await;
    for key in ["a", "c"] {
        assert_eq!(texts_of(&engine, key).await, each_after_the_other(0..40));
    }
    assert_eq!(texts_of(&engine, "b").await, each_after_the_other(0..7));
    let dead = dead(&engine).await;
    assert_eq!((dead.len(), dead[0].parked), (1, 32));
    assert_eq!(dead[0].cause, DeathCause::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_saw_a_refused_outcome_is_committed_and_its_key_skips_it() {
    let engine = refused_in_the_middle(OnDead::Skip).await;
    for key in ["a", "c"] {
        assert_eq!(texts_of(&engine, key).await, each_after_the_other(0..40));
    }
    let others = (0..40).filter(|n| *n != 7);
    assert_eq!(texts_of(&engine, "b").await, each_after_the_other(others));
    assert_eq!(dead(&engine).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_wants_its_reply_where_none_may_go_stops_nothing() {
    let engine = ensue::connect("memory:").await.unwrap();
    let app = App::new(engine.clone())
        .on(GROUP, |thing: Thing| async move {
            match thing.number {
                0 => Err(Failure::reject("no")),
                _ => Ok(Reply(followed(&thing, "answer"))),
            }
        })
        .start()
        .await
        .unwrap();
    let topics = ["_ensue.groups", "_ensue.schedules", "_reply..x", "_"];
    for (n, topic) in topics.iter().enumerate() {
        for number in [0, 1] {
            let request = thing(&format!("k{n}-{number}"), number);
            publish(&engine, [request.extension("replyto", *topic)]).await;
        }
    }
    let status = settled(&engine).await;
    assert_eq!(status.group(GROUP).unwrap().dead, topics.len());
    app.stop().await.unwrap();
}
