//! Point 11: subscriptions by topic pattern and event type.

use super::flaw::{Verdict, equal};
use super::hand::{Hand, delivery_labels};
use super::lab::{IN_FLIGHT_MAX, KIND, Lab};
use super::labels::{labels, sorted};
use ensue_core::engine::{Commit, Start, Subscription};
use ensue_core::event::Envelope;

async fn join(lab: &Lab, group: &str, patterns: &[&str], types: Option<&[&str]>) -> Verdict<Hand> {
    let topics: Result<_, _> = patterns.iter().map(|p| lab.topic(p).parse()).collect();
    let types = types.map(|types| types.iter().map(|&kind| kind.to_owned()).collect());
    let subscription = Subscription {
        group: lab.group(group),
        topics: topics?,
        types,
        start: Start::Earliest,
        in_flight_max: IN_FLIGHT_MAX,
    };
    lab.join_as(subscription).await
}

const TOPICS: [&str; 5] = [
    "sensors",
    "sensors.hall",
    "sensors.hall.t",
    "sensors.yard.t",
    "orders",
];

async fn publish_everywhere(lab: &Lab, number: u64) -> Verdict {
    for topic in TOPICS {
        lab.publish(topic, "a", number..=number).await?;
    }
    Ok(())
}

/// Exactly the events of these topics come, each once.
async fn gets(hand: &Hand, topics: &[&str], number: u64) -> Verdict {
    let expected = topics.iter().map(|topic| format!("{topic}/a/{number}"));
    let expected = sorted(expected.collect());
    let got = hand.drain(expected.len()).await?;
    equal(
        "what the pattern selects",
        sorted(delivery_labels(&got)),
        expected,
    )?;
    hand.gets_nothing("nothing else matches").await
}

pub(super) async fn patterns_select_topics(lab: &mut Lab) -> Verdict {
    let cases: [(&str, &[&str], &[&str]); 7] = [
        ("literal", &["sensors"], &["sensors"]),
        ("one", &["sensors.*"], &["sensors.hall"]),
        (
            "middle",
            &["sensors.*.t"],
            &["sensors.hall.t", "sensors.yard.t"],
        ),
        (
            "rest",
            &["sensors.>"],
            &["sensors.hall", "sensors.hall.t", "sensors.yard.t"],
        ),
        ("all", &[">"], &TOPICS),
        ("two", &["orders", "sensors"], &["orders", "sensors"]),
        (
            "overlapping",
            &["sensors.>", "sensors.hall.*", "sensors.hall.t"],
            &["sensors.hall", "sensors.hall.t", "sensors.yard.t"],
        ),
    ];
    publish_everywhere(lab, 1).await?;
    for (group, patterns, topics) in cases {
        // Once from what is there, once from what comes.
        let hand = join(lab, group, patterns, None).await?;
        gets(&hand, topics, 1).await?;
    }
    publish_everywhere(lab, 2).await?;
    for (group, patterns, topics) in cases {
        let hand = join(lab, group, patterns, None).await?;
        gets(&hand, topics, 2).await?;
    }
    Ok(())
}

pub(super) async fn patterns_pick_up_new_topics(lab: &mut Lab) -> Verdict {
    let hand = join(lab, "g", &["sensors.*"], None).await?;
    hand.gets_nothing("there is no topic yet").await?;
    for n in 1..=5 {
        let topic = format!("sensors.s{n}");
        lab.publish(&topic, "a", 1..=2).await?;
        let got = hand.drain(2).await?;
        equal(
            "the new topic",
            delivery_labels(&got),
            labels(&topic, "a", 1..=2),
        )?;
    }
    Ok(())
}

pub(super) async fn patterns_filter_types(lab: &mut Lab) -> Verdict {
    let hand = join(lab, "g", &["orders"], Some(&["order.paid", "order.sent"])).await?;
    for (n, kind) in [
        (1, "order.created"),
        (2, "order.paid"),
        (3, "order.created"),
        (4, "order.sent"),
        (5, "order.created"),
    ] {
        let event = lab.retyped(lab.builder("orders", "a", n), kind)?;
        lab.append(vec![event]).await?;
    }
    let got = hand.drain(2).await?;
    equal(
        "what the types select",
        delivery_labels(&got),
        ["orders/a/2", "orders/a/4"],
    )?;
    hand.gets_nothing("the other types count as settled")
        .await?;
    lab.group_is("g", "no lag and nothing in flight", |group| {
        group.lag == 0 && group.in_flight == 0
    })
    .await
    .map(drop)
}

pub(super) async fn patterns_match_reserved_topics_only_when_spelled(lab: &mut Lab) -> Verdict {
    let wild = Subscription {
        topics: vec![">".parse()?, "*.>".parse()?],
        start: Start::Latest,
        ..lab.subscription("wild", "orders")?
    };
    let wild = lab.join_as(wild).await?;
    let topic = format!("_reply.{}", lab.topic("x"));
    let spelled = Subscription {
        topics: vec![topic.parse()?],
        ..lab.subscription("spelled", "orders")?
    };
    let spelled = lab.join_as(spelled).await?;
    let reply = Envelope::builder(topic, KIND)
        .key("a")
        .id(lab.id("reserved", "a", 1));
    let commit = Commit {
        effects: vec![reply.build()?.into()],
        ..Commit::default()
    };
    spelled.commit(commit).await?;
    lab.publish("orders", "a", 1..=1).await?;
    let got = spelled.drain(1).await?;
    equal("the spelled topic", delivery_labels(&got), ["reserved/a/1"])?;
    // A shared server may have events of other checks, but none of a reserved topic.
    let mut got = delivery_labels(&wild.drain(1).await?);
    while !got.contains(&"orders/a/1".to_owned()) {
        got.extend(delivery_labels(&wild.drain(1).await?));
    }
    equal(
        "reserved events among them",
        got.contains(&"reserved/a/1".to_owned()),
        false,
    )
}
