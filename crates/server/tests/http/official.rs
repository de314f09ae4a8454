//! The official libraries of Standard Webhooks in other languages: `tests/peers/webhooks.sh` installs them
//! and runs these tests, which are skipped without.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ensue_server::Config;
use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pki::write_private;
use crate::receiver::{Received, Receiver};
use crate::site::{Site, event};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PRIVATE: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const DELIVERIES: usize = 25;

/// A variable of the environment, or a word that the test is skipped without it.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        let said =
            format!("SKIPPED: `{name}` is not set; run crates/server/tests/peers/webhooks.sh\n");
        // Not captured, as what is printed would be.
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    value
}

/// What a program with an official library says of these deliveries.
fn ask(mut command: Command, deliveries: &[Received]) -> Value {
    let lines: Vec<String> = deliveries
        .iter()
        .map(|one| {
            let headers: Vec<(&str, &str)> = one
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            let headers: serde_json::Map<String, Value> = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            let body = std::str::from_utf8(&one.body).unwrap();
            json!({ "headers": headers, "body": body }).to_string() + "\n"
        })
        .collect();
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.concat().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn both_ways(command: Command) {
    let receiver = Receiver::start().await;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secrets");
    let old = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg== until 2100-01-01T00:00:00Z";
    write_private(&path, &format!("{PRIVATE}\n{old}\n{SECRET}"));
    let secrets = format!("secrets = {{ file = \"{}\" }}", path.display());
    let text = format!(
        r#"
        [webhooks]
        allow = ["127.0.0.1"]
        [[webhooks.endpoint]]
        name = "shop"
        url = "{}"
        topics = ["orders"]
        {secrets}
        [[webhooks.in]]
        name = "peer"
        topic = "peers"
        type = "peer.said"
        {secrets}
        "#,
        receiver.url()
    );
    let site = Site::with(text.parse::<Config>().unwrap()).await;
    let mut client = site.client().await;
    for id in 0..DELIVERIES {
        let more = format!(r#","topic":"orders","subject":"ü {id}","data":{{"price":1.10}}"#);
        client
            .event("/v1/events", event(&id.to_string(), &more))
            .await
            .ok();
    }
    let deliveries = receiver.taken(DELIVERIES).await;
    let said = ask(command, &deliveries);
    assert_eq!(said["verified"], DELIVERIES);
    let header = |name: &str| said["headers"][name].as_str().unwrap();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = names.map(|name| (name, header(name)));
    let body = said["body"].as_str().unwrap().to_owned();
    let path = "/v1/webhooks/in/peer";
    let answer = client
        .send(Method::POST, path, &headers, body.clone())
        .await;
    assert_eq!(answer.ok()["duplicate"], false);
    let events = site.events().await;
    assert_eq!(events.last().unwrap().envelope.payload(), body.as_bytes());
    site.end().await;
}

#[tokio::test]
async fn the_official_library_of_python_verifies_deliveries_and_signs_some() {
    let Some(python) = variable("ENSUE_WEBHOOK_PYTHON") else {
        return;
    };
    let mut command = Command::new(python);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/webhooks.py");
    command.args([script, SECRET]);
    both_ways(command).await;
}

#[tokio::test]
async fn the_official_library_of_javascript_verifies_deliveries_and_signs_some() {
    let Some(modules) = variable("ENSUE_WEBHOOK_NODE_PATH") else {
        return;
    };
    let mut command = Command::new("node");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/webhooks.cjs");
    command.args([script, SECRET]).env("NODE_PATH", modules);
    both_ways(command).await;
}
