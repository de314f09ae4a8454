//! The consumer in Python, as a process of its own: `examples/python`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hyper::Method;
use serde_json::{Value, json};

use crate::secure::{Setup, tls_client};
use crate::site::{PATIENCE, Site, event};

/// Python and the example, where there is Python.
fn example(site: &Site) -> Option<Child> {
    let url = format!("http://{}", site.running.address());
    started(&[&url, "2s"], None)
}

fn started(args: &[&str], token: Option<&str>) -> Option<Child> {
    if let Err(error) = Command::new("python3").arg("--version").output() {
        let text =
            format!("SKIPPED, NOT PASSED: no python3 here ({error}); examples/python was not run");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("{text}");
        return None;
    }
    let directory = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/python"
    ));
    let mut command = Command::new("python3");
    command
        .args(["-B", "totals.py"])
        .args(args)
        .envs(token.map(|token| ("ENSUE_TOKEN", token)))
        .current_dir(directory)
        .stderr(Stdio::null());
    Some(command.spawn().unwrap())
}

/// The last total of each customer that was said, and how many were.
async fn totals(site: &Site) -> (BTreeMap<String, i64>, usize) {
    let (mut totals, mut count) = (BTreeMap::new(), 0);
    for recorded in site.events().await {
        if recorded.envelope.topic() == "totals" {
            let said: Value = serde_json::from_slice(recorded.envelope.payload()).unwrap();
            let customer = said["customer"].as_str().unwrap().to_owned();
            totals.insert(customer, said["cents"].as_i64().unwrap());
            count += 1;
        }
    }
    (totals, count)
}

fn order(id: usize, customer: usize) -> String {
    let more = format!(r#","topic":"orders","subject":"c{customer}","data":{{"cents":{id}}}"#);
    event(&id.to_string(), &more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_in_python_encrypts_and_shows_its_token() {
    let (setup, authority) = Setup::with_tls();
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    let url = format!("https://localhost:{}", site.running.address().port());
    let ca_file = setup.path("ca.crt");
    let args = [&url, "2s", ca_file.to_str().unwrap()];
    let Some(mut consumer) = started(&args, Some(&token)) else {
        return site.end().await;
    };
    let mut client = tls_client(&site, authority.client(None)).await.unwrap();
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/cloudevents+json"),
    ];
    client
        .send(Method::POST, "/v1/events", &headers, order(7, 7))
        .await
        .ok();
    let has = async {
        while totals(&site).await.1 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, has).await.unwrap();
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    // An authority that is not known, and what is no server.
    for args in [&[url.as_str(), "2s"][..], &["ftp://localhost"]] {
        let mut refused = started(args, Some(&token)).unwrap();
        assert_eq!(refused.wait().unwrap().code(), Some(1), "{args:?}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_in_python_keeps_state_and_publishes_effects_once() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let Some(mut first) = example(&site) else {
        return site.end().await;
    };
    let orders: Vec<String> = (0..200).map(|id| order(id, id % 7)).collect();
    let batch = format!("[{}]", orders.join(","));
    client.batch("/v1/events", batch).await.ok();
    let has = async |count: usize| {
        let wait = async {
            while totals(&site).await.1 < count {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    };
    has(20).await;
    // One that is killed leaves what it had to the next.
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = example(&site).unwrap();
    let orders: Vec<String> = (200..300).map(|id| order(id, id % 7)).collect();
    let batch = format!("[{}]", orders.join(","));
    client.batch("/v1/events", batch).await.ok();
    has(300).await;
    let (found, count) = totals(&site).await;
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for id in 0..300_usize {
        *expected.entry(format!("c{}", id % 7)).or_default() += i64::try_from(id).unwrap();
    }
    assert_eq!((found, count), (expected, 300));

    let question = event(
        "q",
        r#","topic":"orders","subject":"c0","data":{"cents":1}"#,
    );
    let answer = client
        .event("/v1/requests?deadline=60s", question)
        .await
        .ok();
    assert_eq!(answer["type"], "total.told");
    let question = event(
        "r",
        r#","topic":"orders","subject":"c0","data":{"cents":"many"}"#,
    );
    let refused = client.event("/v1/requests?deadline=60s", question).await;
    let refused = refused.problem(422, "request_failed");
    assert_eq!(refused["reason"], json!("an order has an amount in cents"));

    let pid = second.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(second.wait().unwrap().code(), Some(0));
    let status = site.engine.status().await.unwrap();
    assert!(
        status.groups.iter().all(|group| group.members.is_empty()),
        "it left"
    );
    site.end().await;
}
