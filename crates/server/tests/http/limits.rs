//! How much one caller, and a stranger, may ask for.

use ensue_server::Config;

use crate::secure::{Bearer, Setup};
use crate::site::Site;

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
