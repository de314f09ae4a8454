//! Roles that name the sources of what they publish.

use hyper::Method;
use serde_json::json;

use crate::secure::{Bearer, Setup};
use crate::site::{Site, event};

const ROLES: &str =
    "[roles.till]\npublish = ['orders']\nsources = ['/shop']\nconsume = ['orders']\n";

#[tokio::test]
async fn a_caller_publishes_with_the_sources_of_its_role_and_no_other_whichever_way() {
    let setup = Setup::new(&format!("[auth]\ntokens = 'tokens.json'\n{ROLES}"));
    let token = setup.token("till");
    let site = Site::with(setup.config()).await;
    let mut till = Bearer::connect(&site, &token).await;
    let path = "/v1/events?topic=orders";
    let own = event("1", "").replace("/shop", "/shop/4");
    till.event(path, &own).await.ok();
    let foreign = event("2", "").replace("/shop", "/bank");
    let batch = format!("[{},{foreign}]", event("3", ""));
    let later = format!("{path}&at=2100-01-01T00:00:00Z");
    for (path, body, kind) in [
        (path, foreign.as_str(), "application/cloudevents+json"),
        (&later, &foreign, "application/cloudevents+json"),
        (path, &batch, "application/cloudevents-batch+json"),
        (
            "/v1/requests?topic=orders",
            &foreign,
            "application/cloudevents+json",
        ),
    ] {
        let headers = [("content-type", kind)];
        let answer = till.send(Method::POST, path, &headers, body).await;
        let problem = answer.problem(403, "forbidden")["detail"].to_string();
        assert!(
            problem.contains("`/bank`") && problem.contains("`sources`"),
            "{problem}"
        );
    }
    // Effects: the server signs those without a source.
    let joined = till
        .post("/v1/groups/g/members", r#"{"topics": ["orders"]}"#)
        .await
        .ok();
    let member = format!(
        "/v1/groups/g/members/{}",
        joined["member"].as_str().unwrap()
    );
    let taken = till.post(&format!("{member}/take"), "").await.ok();
    let taken = &taken["deliveries"][0];
    let settle = |source: &str| {
        let mut effect = json!({"type": "e", "topic": "orders"});
        if !source.is_empty() {
            effect["source"] = json!(source);
        }
        json!({"settle": [{
            "position": taken["position"], "generation": taken["generation"], "effects": [{"event": effect}],
        }]})
        .to_string()
    };
    let commit = format!("{member}/commit");
    till.post(&commit, &settle("/bank"))
        .await
        .problem(403, "forbidden");
    till.post(&commit, &settle("")).await.ok();
    let events = site.events().await;
    assert!(events.iter().all(|it| it.envelope.source() != "/bank"));
    site.end().await;
}
