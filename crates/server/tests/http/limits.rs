//! How much one caller, and a stranger, may ask for.

use ensue_server::Config;

use crate::audit::group;
use crate::client::Answer;
use crate::secure::{Bearer, Setup};
use crate::site::{PATIENCE, Site, event};

#[tokio::test]
async fn a_caller_that_sends_too_much_is_told_so_and_others_go_on() {
    let setup = Setup::with_tokens();
    let (first, second) = (setup.token("reader"), setup.token("publisher"));
    let other = setup.token("reader");
    let mut config = setup.config();
    config.limits.caller_requests_per_second = 1;
    let site = Site::with(config).await;
    let mut reader = Bearer::connect(&site, &first).await;
    // Another token of the same caller.
    let mut again = Bearer::connect(&site, &other).await;
    let refused = loop {
        let answer = reader.get("/v1/status").await;
        if answer.status != 200 {
            break answer;
        }
    };
    refused.problem(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    let refused = again.get("/v1/status").await;
    assert!([200, 429].contains(&refused.status.as_u16()));
    let mut publisher = Bearer::connect(&site, &second).await;
    publisher.get("/v1/status").await.ok();
    site.end().await;
}

#[tokio::test]
async fn a_caller_has_so_many_streams_and_others_have_their_own() {
    let setup = Setup::with_tokens();
    let (reader, owner) = (setup.token("reader"), setup.token("owner"));
    let mut config = setup.config();
    config.limits.caller_streams_max = 1;
    let site = Site::with(config).await;
    let path = "/v1/events/stream?topic=orders.eu";
    let headers = |token: &str| format!("Bearer {token}");
    let first = site.client().await.stream_as(path, &headers(&reader)).await;
    let _first = first.unwrap();
    let second = site.client().await.stream_as(path, &headers(&reader)).await;
    let Err(refused) = second else {
        panic!("a stream too many");
    };
    let problem = refused.problem(429, "rate_limited");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("caller_streams_max")
    );
    let other = site.client().await.stream_as(path, &headers(&owner)).await;
    drop(other.unwrap());
    site.end().await;
}

#[test]
fn a_limit_out_of_its_range_names_itself() {
    for name in [
        "caller_requests_per_second",
        "caller_streams_max",
        "waits_max",
        "address_connections_max",
        "address_connections_per_second",
    ] {
        let text = format!("[limits]\n{name} = 0");
        let error = text.parse::<Config>().unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("between 1"),
            "{error}"
        );
    }
}

/// Asks again until so many wait that this one may not.
async fn refused_wait(client: &mut Bearer) -> Answer {
    let refused = async {
        loop {
            let answer = client.get(&format!("{WAIT}&timeout=1ms")).await;
            if answer.json()["code"] != "not_handled" {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap()
}

const WAIT: &str = "/v1/groups/behind/wait?token=0";

#[tokio::test]
async fn so_many_requests_wait_for_groups_and_a_quarter_of_them_of_one_caller() {
    let setup = Setup::with_tokens();
    let (reader, owner) = (setup.token("consumer"), setup.token("owner"));
    let operator = setup.token("operator");
    let mut config = setup.config();
    config.limits.waits_max = 2;
    let site = Site::with(config).await;
    let mut other = Bearer::connect(&site, &owner).await;
    let event = event("1", r#","topic":"orders.eu""#);
    other.event("/v1/events", &event).await.ok();
    group(&site.engine, "behind", "orders.eu").await;
    let wait = |mut client: Bearer| {
        tokio::spawn(async move { client.get(&format!("{WAIT}&timeout=60s")).await })
    };
    let first = wait(Bearer::connect(&site, &reader).await);
    let mut second = Bearer::connect(&site, &reader).await;
    let refused = refused_wait(&mut second).await;
    let refused = refused.problem(429, "rate_limited");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("`waits_max`"), "{detail}");
    // Who only looks does not wait, and others have places of their own.
    let looked = second.get(&format!("{WAIT}&timeout=0s")).await;
    looked.problem(504, "not_handled");
    let waited = other.get(&format!("{WAIT}&timeout=1ms")).await;
    waited.problem(504, "not_handled");
    let third = wait(Bearer::connect(&site, &owner).await);
    let mut fourth = Bearer::connect(&site, &operator).await;
    let refused = refused_wait(&mut fourth).await.problem(503, "overloaded");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("`waits_max`"), "{detail}");
    first.abort();
    third.abort();
    site.end_at_once().await;
}
