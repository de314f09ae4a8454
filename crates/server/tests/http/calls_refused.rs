//! What callers by gRPC do not get.

use ensue_proto::v1;
use ensue_proto::v1::join_request::Request as Ask;
use ensue_proto::v1::join_response::Response as Said;
use tonic::Code;

use crate::caller::{Member, client, event, of};
use crate::site::{PATIENCE, Site};

#[tokio::test]
async fn what_is_personal_does_not_leave_by_a_call_of_who_may_not_see_it() {
    let setup = crate::masking::setup("");
    let tokens = [setup.token("owner"), setup.token("officer")];
    let site = Site::with(setup.config()).await;
    let mut client = client(&site).await;
    let append = |id: &str, at_us: Option<i64>| {
        let mut append = event(id, "k", br#"{"email":"erika@example.org","n":1.10}"#);
        append.event.as_mut().unwrap().topic = "orders.eu".into();
        append.schedule = at_us.map(|at_us| v1::Schedule { at_us, timer: None });
        append
    };
    let batch = vec![append("1", None), append("2", Some(4_102_444_800_000_000))];
    client
        .append(of(&tokens[0], v1::AppendRequest { batch }))
        .await
        .unwrap();
    for (token, is_shown) in tokens.iter().zip([false, true]) {
        let mut texts = Vec::new();
        let read = v1::ReadRequest {
            topics: Some("orders.>".into()),
            one_page: true,
            ..v1::ReadRequest::default()
        };
        let mut pages = client.read(of(token, read)).await.unwrap().into_inner();
        let page = pages.message().await.unwrap().unwrap();
        texts.push(page.events[0].event.as_ref().unwrap().payload.clone());
        let listed = v1::ListScheduledRequest { limit: 10 };
        let listed = client.list_scheduled(of(token, listed)).await.unwrap();
        let listed = listed.into_inner().message().await.unwrap().unwrap();
        let scheduled = listed.scheduled[0].clone();
        texts.push(prost::Message::encode_to_vec(&scheduled).into());
        let subscription = v1::Subscription {
            group: format!("of-{is_shown}"),
            topics: vec!["orders.eu".into()],
            ..v1::Subscription::default()
        };
        let join = Ask::Join(v1::JoinGroup {
            subscription: Some(subscription),
            lease_ms: 60_000,
        });
        let take = Ask::Take(v1::TakeEvents {
            events_max: 1,
            ..v1::TakeEvents::default()
        });
        let asks = [join, take].map(|ask| v1::JoinRequest { request: Some(ask) });
        let asks = futures_util::stream::iter(asks);
        let asks = futures_util::StreamExt::chain(asks, futures_util::stream::pending());
        let mut said = client.join(of(token, asks)).await.unwrap().into_inner();
        let delivered = loop {
            let said = tokio::time::timeout(PATIENCE, said.message())
                .await
                .unwrap();
            if let Some(Said::Deliver(deliver)) = said.unwrap().unwrap().response {
                break deliver.deliveries[0].event.clone().unwrap();
            }
        };
        texts.push(delivered.payload);
        for text in texts {
            let text = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(text.contains(crate::masking::SECRET), is_shown, "{text}");
            let masked = r#"{"email":null,"n":1.10}"#;
            assert_eq!(text.contains(masked), !is_shown, "{text}");
        }
    }
    site.end().await;
}

#[tokio::test]
async fn no_one_joins_a_group_with_topics_that_they_may_not_consume() {
    let setup = crate::secure::Setup::new(
        "[auth]\ntokens = 'tokens.json'\n[roles.all]\nconsume = ['>']\n[roles.shop]\nconsume = ['orders']\n",
    );
    let (all, shop) = (setup.token("all"), setup.token("shop"));
    let site = Site::with(setup.config()).await;
    let mut client = client(&site).await;
    // A group's topics are those of who joined last, and what was put aside comes whatever they are.
    for (token, group, topic, expected) in [
        (&all, "g", "payments", Ok(())),
        (&shop, "g", "orders", Err(Code::PermissionDenied)),
        (&shop, "other", "orders", Ok(())),
        (&shop, "other", "orders", Ok(())),
    ] {
        let subscription = v1::Subscription {
            group: group.into(),
            topics: vec![topic.into()],
            ..v1::Subscription::default()
        };
        let join = Ask::Join(v1::JoinGroup {
            subscription: Some(subscription),
            lease_ms: 60_000,
        });
        let request = Some(join);
        let asks = futures_util::stream::iter([v1::JoinRequest { request }]);
        let joined = client.join(of(token, asks)).await;
        assert_eq!(
            joined.map(drop).map_err(|it| it.code()),
            expected,
            "{group}"
        );
    }
    site.end().await;
}

#[tokio::test]
async fn no_member_joins_the_group_of_a_webhook() {
    let secrets = crate::endpoint::Secrets::new(crate::endpoint::SECRET);
    let site = Site::with(secrets.config("http://127.0.0.1:9/", "")).await;
    let mut client = client(&site).await;
    let subscription = v1::Subscription {
        group: "webhook.shop".into(),
        topics: vec!["orders".into()],
        ..v1::Subscription::default()
    };
    let join = Ask::Join(v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms: 60_000,
    });
    let refused = Member::open(&mut client, join).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("webhook of this server"),
        "{refused}"
    );
    site.end().await;
}

/// Joins a group for these topics.
fn join(group: &str, topics: &[&str]) -> Ask {
    let subscription = v1::Subscription {
        group: group.into(),
        topics: topics.iter().map(|it| (*it).to_owned()).collect(),
        ..v1::Subscription::default()
    };
    Ask::Join(v1::JoinGroup {
        subscription: Some(subscription),
        lease_ms: 60_000,
    })
}

#[tokio::test]
async fn who_asks_for_less_than_the_other_members_is_refused_until_they_have_left() {
    let site = Site::start().await;
    let mut client = client(&site).await;
    for _ in 0..20 {
        let wide = join("g", &["orders", "refunds"]);
        let mut member = Member::open(&mut client, wide.clone()).await.unwrap();
        assert!(matches!(member.next().await, Said::Joined(_)));
        let refused = Member::open(&mut client, join("g", &["orders"])).await;
        let refused = refused.err().unwrap();
        let detail = ensue_proto::detail_of_status(&refused).unwrap();
        assert_eq!(detail.code, "other_subscription", "{refused}");
        // More, and another group, are no one's loss.
        let more = join("g", &["orders", "refunds", "returns"]);
        for allowed in [wide, more, join("other", &["orders"])] {
            let mut other = Member::open(&mut client, allowed).await.unwrap();
            assert!(matches!(other.next().await, Said::Joined(_)));
            other.say(Ask::Leave(v1::LeaveGroup {})).await;
            assert!(matches!(other.next().await, Said::Left(_)));
        }
        member.say(Ask::Leave(v1::LeaveGroup {})).await;
        assert!(matches!(member.next().await, Said::Left(_)));
        let mut narrow = Member::open(&mut client, join("g", &["orders"])).await;
        let narrow = narrow.as_mut().unwrap();
        assert!(matches!(narrow.next().await, Said::Joined(_)));
        narrow.say(Ask::Leave(v1::LeaveGroup {})).await;
        assert!(matches!(narrow.next().await, Said::Left(_)));
    }
    site.end().await;
}

#[tokio::test]
async fn operators_list_the_dead_letters_of_what_is_theirs() {
    let setup = crate::secure::Setup::new(
        "[auth]\ntokens = 'tokens.json'\n[roles.orders]\noperate = ['orders']\n[roles.photos]\n\
         operate = ['photos']\n[roles.owner]\nread = ['>']\npublish = ['>']\nconsume = ['>']\noperate = ['>']\n",
    );
    let tokens = ["orders", "photos", "owner"].map(|role| setup.token(role));
    let site = Site::with(setup.config()).await;
    let mut client = client(&site).await;
    for topic in ["orders", "photos"] {
        let append = |number: u32| {
            let mut append = event(&format!("{topic}-{number}"), "k", b"{}");
            append.event.as_mut().unwrap().topic = topic.into();
            append
        };
        let batch = (0..40).map(append).collect();
        let append = of(&tokens[2], v1::AppendRequest { batch });
        client.append(append).await.unwrap();
        let call = of(&tokens[2], ());
        let group = join(&format!("of-{topic}"), &[topic]);
        let mut member = Member::open_of(&mut client, call, group).await.unwrap();
        assert!(matches!(member.next().await, Said::Joined(_)));
        for number in 1..=40 {
            member.take(1, true).await;
            let (_, positions) = member.batch().await;
            let death = v1::Death {
                position: positions[0],
                attempts: 1,
                reason: "no".into(),
                on_dead: v1::OnDead::Skip.into(),
                cause: v1::DeathCause::Rejected.into(),
            };
            let commit = Some(v1::Commit {
                dead: vec![death],
                ..v1::Commit::default()
            });
            let commit = v1::CommitEvents { number, commit };
            member.say(Ask::Commit(commit)).await;
            member.committed().await;
        }
    }
    for (token, limit, expected) in [
        (&tokens[0], 0, &[("of-orders", 40)][..]),
        (&tokens[1], 25, &[("of-photos", 25)]),
        (&tokens[2], 0, &[("of-orders", 40), ("of-photos", 40)]),
    ] {
        let filter = Some(v1::DeadLetterFilter {
            limit,
            ..v1::DeadLetterFilter::default()
        });
        let request = v1::ListDeadLettersRequest {
            group: None,
            filter,
        };
        let listed = client.list_dead_letters(of(token, request)).await.unwrap();
        let (mut pieces, mut found) = (listed.into_inner(), std::collections::BTreeMap::new());
        while let Some(piece) = pieces.message().await.unwrap() {
            for letter in piece.dead_letters {
                *found.entry(letter.group).or_insert(0) += 1;
            }
        }
        let found = found.iter().map(|(group, count)| (group.as_str(), *count));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
    site.end().await;
}
