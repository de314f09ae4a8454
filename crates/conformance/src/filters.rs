//! Point 6: dead letters are listed, redriven and discarded by filter.

use super::dead::{discard, redrive};
use super::flaw::{Verdict, equal};
use super::hand::{Hand, delivery_labels, dying};
use super::lab::Lab;
use ensue_core::engine::OnDead;
use ensue_core::engine::{Commit, DeadLetter, DeadLetterFilter};

/// Four dead letters of different keys, types and reasons; returns when the third died.
async fn four_dead_letters(lab: &Lab, hand: &Hand) -> Verdict<ensue_core::Timestamp> {
    let mut since = lab.clock.now();
    for (n, (key, kind, reason)) in [
        ("a", "order.created", "no stock"),
        ("b", "order.created", "no money"),
        ("c", "order.paid", "no stock at all"),
        ("d", "order.shipped", "no ship"),
    ]
    .into_iter()
    .enumerate()
    {
        let event = lab.builder("orders", key, 1);
        let event = lab.retyped(event, kind)?;
        lab.append(vec![event]).await?;
        let taken = hand.take_one().await?;
        if n == 2 {
            since = lab.clock.now();
        }
        let mut death = dying(&taken, OnDead::Park);
        death.reason = reason.to_owned();
        let commit = Commit {
            dead: vec![death],
            ..Commit::default()
        };
        hand.commit(commit).await?;
        lab.pass(lab.moment()).await;
    }
    Ok(since)
}

fn filters(
    lab: &Lab,
    since: ensue_core::Timestamp,
) -> Vec<(DeadLetterFilter, &'static [&'static str])> {
    let none = DeadLetterFilter::default;
    vec![
        (none(), &["a", "b", "c", "d"]),
        (
            DeadLetterFilter {
                ids: vec![lab.id("orders", "b", 1), lab.id("orders", "d", 1)],
                ..none()
            },
            &["b", "d"],
        ),
        (
            DeadLetterFilter {
                types: vec!["order.paid".into(), "order.shipped".into()],
                ..none()
            },
            &["c", "d"],
        ),
        (
            DeadLetterFilter {
                key: Some("a".into()),
                ..none()
            },
            &["a"],
        ),
        (
            DeadLetterFilter {
                reason: Some("stock".into()),
                ..none()
            },
            &["a", "c"],
        ),
        (
            DeadLetterFilter {
                since: Some(since),
                ..none()
            },
            &["c", "d"],
        ),
        (DeadLetterFilter { limit: 3, ..none() }, &["a", "b", "c"]),
        (
            DeadLetterFilter {
                reason: Some("no".into()),
                types: vec!["order.created".into()],
                limit: 1,
                ..none()
            },
            &["a"],
        ),
        (
            DeadLetterFilter {
                key: Some("z".into()),
                ..none()
            },
            &[],
        ),
    ]
}

fn keys(dead: &[DeadLetter]) -> Vec<&str> {
    dead.iter().map(|dead| dead.key.as_str()).collect()
}

pub(super) async fn dead_letters_are_filtered(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let since = four_dead_letters(lab, &hand).await?;
    for (filter, expected) in filters(lab, since) {
        let what = format!("dead letters like {filter:?}");
        let dead = lab.dead_letters_like("g", filter).await?;
        equal(what, keys(&dead), expected)?;
    }
    Ok(())
}

pub(super) async fn redrive_and_discard_take_what_the_filter_says(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let since = four_dead_letters(lab, &hand).await?;
    let none = DeadLetterFilter {
        key: Some("z".into()),
        ..DeadLetterFilter::default()
    };
    equal("redriven", redrive(lab, none.clone()).await?, 0)?;
    equal("discarded", discard(lab, none).await?, 0)?;
    let late = DeadLetterFilter {
        since: Some(since),
        limit: 1,
        ..DeadLetterFilter::default()
    };
    equal("redriven", redrive(lab, late).await?, 1)?;
    equal(
        "what comes back",
        delivery_labels(&hand.drain(1).await?),
        ["orders/c/1"],
    )?;
    let kept = lab
        .dead_letters_like("g", DeadLetterFilter::default())
        .await?;
    let only = DeadLetterFilter {
        positions: kept.iter().take(2).map(|letter| letter.position).collect(),
        ..DeadLetterFilter::default()
    };
    equal(
        "letters at two positions",
        keys(&lab.dead_letters_like("g", only).await?),
        ["a", "b"],
    )?;
    let money = DeadLetterFilter {
        reason: Some("money".into()),
        ..DeadLetterFilter::default()
    };
    equal("discarded", discard(lab, money).await?, 1)?;
    equal(
        "what is left",
        keys(&lab.dead_letters("g").await?),
        ["a", "d"],
    )?;
    hand.gets_nothing("the rest is dead or discarded").await
}
