//! Point 10: events can be read by topic, key, type, position and time, without a group.

use futures_util::future::join;

use super::flaw::{Flaw, Verdict, ensure, equal, fails};
use super::lab::Lab;
use super::labels::{labels, recorded_labels};
use ensue_core::engine::{Cursor, Position, Query, READ_EVENTS_MAX, Recorded};
use ensue_core::error::{Error, ReadError};

/// Nine events in three topics, of two keys and two types, each appended at a time of its own.
async fn nine(lab: &Lab) -> Verdict<Vec<Recorded>> {
    for n in 1..=3 {
        for (topic, key, kind) in [
            ("orders.eu", "a", "order.created"),
            ("orders.us", "b", "order.created"),
            ("bills", "a", "bill.sent"),
        ] {
            let event = lab.retyped(lab.builder(topic, key, n), kind)?;
            lab.append(vec![event]).await?;
            lab.pass(lab.moment()).await;
        }
    }
    let all = lab.read_all(own(lab, ">")?).await?;
    equal("how many events are there", all.len(), 9)?;
    Ok(all)
}

fn own(lab: &Lab, pattern: &str) -> Verdict<Query> {
    Ok(Query {
        topics: Some(lab.topic(pattern).parse()?),
        ..Query::default()
    })
}

async fn reads(lab: &Lab, query: Query, expected: &[String]) -> Verdict {
    let what = format!("what {query:?} reads");
    let found = lab.read_all(query).await?;
    let is_ordered = found.is_sorted_by(|left, right| left.position < right.position);
    ensure(is_ordered, "pages in the order of positions", &what)?;
    equal(what, recorded_labels(&found).as_slice(), expected)
}

/// The labels of those of the nine that `is` selects.
fn those(all: &[Recorded], is: impl Fn(&Recorded) -> bool) -> Vec<String> {
    let some: Vec<_> = all
        .iter()
        .filter(|recorded| is(recorded))
        .cloned()
        .collect();
    recorded_labels(&some)
}

pub(super) async fn read_selects_topics_keys_and_types(lab: &mut Lab) -> Verdict {
    let all = nine(lab).await?;
    let everything = recorded_labels(&all);
    reads(lab, own(lab, ">")?, &everything).await?;
    let one = those(&all, |r| r.envelope.topic() == lab.topic("orders.eu"));
    reads(lab, own(lab, "orders.eu")?, &one).await?;
    let some = those(&all, |r| r.envelope.topic() != lab.topic("bills"));
    reads(lab, own(lab, "orders.*")?, &some).await?;
    let of_key = those(&all, |r| r.envelope.key() == "a");
    let key = Some("a".to_owned());
    let query = Query {
        key,
        ..own(lab, ">")?
    };
    reads(lab, query, &of_key).await?;
    let of_type = those(&all, |r| r.envelope.event_type() == "bill.sent");
    let types = vec!["bill.sent".to_owned()];
    let query = Query {
        types,
        ..own(lab, ">")?
    };
    reads(lab, query, &of_type).await?;
    let types = vec!["bill.sent".to_owned(), "order.created".to_owned()];
    let query = Query {
        types,
        ..own(lab, ">")?
    };
    reads(lab, query, &everything).await?;
    let query = Query {
        key: Some("b".into()),
        types: vec!["bill.sent".into()],
        ..own(lab, ">")?
    };
    reads(lab, query, &[]).await?;
    reads(lab, own(lab, "nothing")?, &[]).await?;
    // Without a pattern: everything of the users', which may be more than this check's.
    let found = recorded_labels(&lab.read_all(Query::default()).await?);
    let missing = everything.iter().find(|label| !found.contains(label));
    ensure(
        missing.is_none(),
        "every event",
        format_args!("not {missing:?}"),
    )
}

pub(super) async fn read_selects_positions_and_times(lab: &mut Lab) -> Verdict {
    let all = nine(lab).await?;
    let at = |index: usize| {
        let there = all.get(index);
        there.ok_or_else(|| Flaw::new("nine events", all.len()))
    };
    let (low, high) = (at(3)?, at(6)?);
    let tail = those(&all, |r| r.position >= low.position);
    let query = Query {
        from: low.position.into(),
        ..own(lab, ">")?
    };
    reads(lab, query, &tail).await?;
    let middle = those(&all, |r| {
        r.position >= low.position && r.position < high.position
    });
    let query = Query {
        from: low.position.into(),
        until: Some(high.position.into()),
        ..own(lab, ">")?
    };
    reads(lab, query, &middle).await?;
    let late = those(&all, |r| r.appended >= low.appended);
    let query = Query {
        since: Some(low.appended),
        ..own(lab, ">")?
    };
    reads(lab, query, &late).await?;
    let between = those(&all, |r| {
        r.appended >= low.appended && r.appended < high.appended
    });
    equal("events between the times", between.len(), 3)?;
    let query = Query {
        since: Some(low.appended),
        before: Some(high.appended),
        ..own(lab, ">")?
    };
    reads(lab, query, &between).await?;
    let query = Query {
        since: Some(low.appended),
        until: Some(high.position.into()),
        key: Some("a".into()),
        ..own(lab, "orders.>")?
    };
    let all_at_once = those(&all, |r| {
        r.position >= low.position
            && r.position < high.position
            && r.envelope.topic() == lab.topic("orders.eu")
    });
    reads(lab, query, &all_at_once).await?;
    let query = Query {
        since: Some(lab.later()),
        ..own(lab, ">")?
    };
    reads(lab, query, &[]).await?;
    let query = Query {
        before: Some(ensue_core::Timestamp::EPOCH),
        ..own(lab, ">")?
    };
    reads(lab, query, &[]).await?;
    let from = high.position;
    let until = Some(low.position);
    let query = Query {
        from: from.into(),
        until: until.map(Cursor::from),
        ..own(lab, ">")?
    };
    reads(lab, query, &[]).await
}

pub(super) async fn read_goes_page_by_page(lab: &mut Lab) -> Verdict {
    for n in 1..=30 {
        lab.publish("orders", "a", n..=n).await?;
        lab.publish("noise", "x", n..=n).await?;
    }
    for limit in [1, 7, 30, 1_000] {
        let mut query = Query {
            limit,
            ..own(lab, "orders")?
        };
        let mut found = Vec::new();
        loop {
            let page = lab.engine()?.read(query.clone()).await?;
            ensure(
                page.events.len() <= limit,
                format_args!("at most {limit} events"),
                page.events.len(),
            )?;
            let last = page.events.last().map(|recorded| recorded.position);
            ensure(
                last.map(Cursor::from) < Some(page.next.clone()),
                format_args!("to go on after {last:?}"),
                &page.next,
            )?;
            found.extend(recorded_labels(&page.events));
            let is_stuck = page.next <= query.from && page.events.is_empty();
            query.from = page.next.clone();
            if page.is_end {
                break;
            }
            ensure(
                !is_stuck,
                "progress",
                format_args!("no event, next {}", page.next),
            )?;
        }
        equal(
            format_args!("pages of {limit}"),
            found,
            labels("orders", "a", 1..=30),
        )?;
    }
    Ok(())
}

pub(super) async fn read_has_a_limit_of_its_own(lab: &mut Lab) -> Verdict {
    let count = READ_EVENTS_MAX as u64 + 10;
    lab.publish("orders", "a", 1..=count).await?;
    for limit in [0, usize::MAX] {
        let query = Query {
            limit,
            ..own(lab, "orders")?
        };
        let page = lab.engine()?.read(query).await?;
        ensure(
            page.events.len() <= READ_EVENTS_MAX && !page.is_end,
            format_args!("at most {READ_EVENTS_MAX} events and more to come"),
            format_args!("{} events, end: {}", page.events.len(), page.is_end),
        )?;
    }
    equal("all pages", lab.stored("orders").await?.len() as u64, count)
}

pub(super) async fn read_of_nothing_is_empty(lab: &mut Lab) -> Verdict {
    let page = lab.engine()?.read(own(lab, "orders")?).await?;
    equal("events", page.events.len(), 0)?;
    ensure(page.is_end, "the end", "more to come")?;
    lab.publish("orders", "a", 1..=1).await?;
    let query = Query {
        from: page.next,
        ..own(lab, "orders")?
    };
    reads(lab, query, &labels("orders", "a", 1..=1)).await?;
    let beyond = Query {
        from: Position::new(u64::MAX / 2).into(),
        ..own(lab, "orders")?
    };
    fails(
        "a read that begins beyond the end to be refused",
        lab.engine()?.read(beyond).await,
        |error| matches!(error, Error::Read(ReadError::BeyondEnd { .. })),
    )
}

pub(super) async fn read_waits_for_what_comes(lab: &mut Lab) -> Verdict {
    lab.publish("orders", "a", 1..=1).await?;
    let page = lab.engine()?.read(own(lab, "orders")?).await?;
    let engine = lab.engine()?.clone();
    let (waited, published) = join(
        tokio::time::timeout(lab.terms.arrive, engine.wait(page.next.clone())),
        async {
            tokio::time::sleep(lab.terms.quiet).await;
            lab.publish("orders", "a", 2..=2).await
        },
    )
    .await;
    published?;
    match waited {
        Ok(waited) => waited?,
        Err(_) => return Err(Flaw::new("wait() to end with the next append", "it waits")),
    }
    let query = Query {
        from: page.next,
        ..own(lab, "orders")?
    };
    reads(lab, query, &labels("orders", "a", 2..=2)).await?;
    let first = page.events.first().map(|recorded| recorded.position);
    let there = engine.wait(first.unwrap_or_default().into());
    match tokio::time::timeout(lab.terms.arrive, there).await {
        Ok(waited) => Ok(waited?),
        Err(_) => Err(Flaw::new(
            "wait() for what is there to end at once",
            "it waits",
        )),
    }
}

pub(super) async fn read_hides_reserved_topics_unless_spelled(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "orders").await?;
    let topic = format!("_reply.{}", lab.topic("x"));
    let id = lab.id("reserved", "a", 1);
    let reply = ensue_core::Envelope::builder(topic.as_str(), super::lab::KIND);
    let reply = reply.key("a").id(id.as_str()).build()?;
    let commit = ensue_core::engine::Commit {
        effects: vec![reply.into()],
        ..ensue_core::engine::Commit::default()
    };
    hand.commit(commit).await?;
    let has = |found: &[Recorded]| found.iter().any(|r| r.envelope.id() == id);
    for pattern in [None, Some(">"), Some("*.>")] {
        let topics = pattern.map(str::parse).transpose()?;
        let found = lab
            .read_all(Query {
                topics,
                ..Query::default()
            })
            .await?;
        ensure(
            !has(&found),
            format_args!("no reserved topic by {pattern:?}"),
            "one",
        )?;
    }
    for pattern in [topic.as_str(), "_reply.>"] {
        let topics = Some(pattern.parse()?);
        let found = lab
            .read_all(Query {
                topics,
                ..Query::default()
            })
            .await?;
        ensure(
            has(&found),
            format_args!("the reserved topic by {pattern}"),
            "nothing",
        )?;
    }
    Ok(())
}

pub(super) async fn read_finds_the_last_event_of_a_key(lab: &mut Lab) -> Verdict {
    let all = nine(lab).await?;
    is_last(lab, &all).await?;
    lab.crash().await?;
    is_last(lab, &all).await?;
    lab.publish("orders.eu", "a", 10..=11).await?;
    let all = lab.read_all(own(lab, ">")?).await?;
    is_last(lab, &all).await
}

/// Whether the last event of each key is the one that reading all of them ends with.
async fn is_last(lab: &Lab, all: &[Recorded]) -> Verdict {
    for (topic, key) in [
        ("orders.eu", "a"),
        ("orders.us", "b"),
        ("bills", "a"),
        ("bills", "b"),
        ("nothing", "a"),
    ] {
        let topic = lab.topic(topic);
        let mut of_key = all.iter().filter(|recorded| {
            recorded.envelope.topic() == topic && recorded.envelope.key() == key
        });
        let expected = of_key.next_back().map(|recorded| recorded.position);
        let found = lab.engine()?.last(&topic, key).await?;
        let what = format!("the last event of `{key}` in `{topic}`");
        equal(what, found.map(|recorded| recorded.position), expected)?;
    }
    Ok(())
}
