//! Members of one group that ask for different topics or types.

use serde_json::json;

use crate::member::{MemberClient, ids, post};
use crate::site::{Site, event};

#[tokio::test]
async fn who_asks_for_less_than_the_other_members_is_refused_until_they_have_left() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let more = json!({"topics": ["orders", "refunds.*"], "types": ["created", "paid"]});
    let mut member = MemberClient::join(&site, "billing", more).await;
    let path = "/v1/groups/billing/members";
    for (body, part) in [
        (
            json!({"topics": ["refunds.*"], "types": ["created", "paid"]}),
            "for refunds.* (created, paid)",
        ),
        (
            json!({"topics": ["orders", "refunds.*"], "types": ["paid"]}),
            "(paid)",
        ),
        (
            json!({"topics": ["orders", "refunds.eu"]}),
            "refunds.eu (every type)",
        ),
    ] {
        let problem = post(&mut client, path, &body).await;
        let problem = problem.problem(409, "other_subscription");
        assert!(
            problem["detail"].as_str().unwrap().contains(part),
            "{problem}"
        );
        assert_eq!(
            problem["members"],
            json!({"topics": ["orders", "refunds.*"], "types": ["created", "paid"]})
        );
        assert_eq!(problem["wanted"]["topics"], body["topics"]);
    }
    // What they ask for is still theirs.
    let created = event("1", r#","topic":"refunds.eu""#).replace("order.created", "created");
    client.event("/v1/events", created).await.ok();
    assert_eq!(ids(&member.take("wait=60s").await), ["1"]);
    // Others of the group, and other groups, are not concerned.
    post(&mut client, path, &json!({"topics": [">"]}))
        .await
        .ok();
    let refused = json!({"topics": ["orders", "refunds.*"], "types": ["created", "paid"]});
    let refused = post(&mut client, path, &refused).await;
    refused.problem(409, "other_subscription");
    MemberClient::join(&site, "letters", json!({"topics": ["refunds.*"]})).await;
    site.end().await;
}

#[tokio::test]
async fn who_has_left_or_whose_lease_is_over_does_not_count() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let path = "/v1/groups/billing/members";
    let (wide, narrow) = (json!({"topics": [">"]}), json!({"topics": ["orders"]}));
    for _ in 0..20 {
        let mut member = MemberClient::join(&site, "billing", wide.clone()).await;
        post(&mut client, path, &narrow)
            .await
            .problem(409, "other_subscription");
        member.leave().await.ok();
        let mut member = MemberClient::join(&site, "billing", narrow.clone()).await;
        member.leave().await.ok();
    }
    site.end().await;
}
