//! A webhook endpoint of a server under test.

use std::path::PathBuf;

use ensue_server::Config;
use hyper::body::Bytes;
use serde_json::Value;
use standardwebhooks::Webhook;
use tempfile::TempDir;

use crate::client::Client;
use crate::pki::write_private;
use crate::receiver::{Received, Reply};
use crate::site::{PATIENCE, event};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const OTHER: &str = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==";

pub(crate) const OK: Reply = (204, &[], Bytes::new());
pub(crate) const FAILS: Reply = (500, &[], Bytes::from_static(b"out of order"));

/// A secret in a file.
pub(crate) struct Secrets {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Secrets {
    pub(crate) fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("secrets");
        write_private(&path, text);
        Self {
            _directory: directory,
            path,
        }
    }

    /// Settings with an endpoint `shop` at `url` that is sent the topic `orders`.
    pub(crate) fn config(&self, url: &str, more: &str) -> Config {
        let text = format!(
            r#"
            [webhooks]
            allow = ["127.0.0.1"]
            [[webhooks.endpoint]]
            name = "shop"
            url = "{url}"
            topics = ["orders"]
            secrets = {{ file = "{}" }}
            backoff = "1ms..5ms"
            circuit_failures = 1000000
            {more}
            "#,
            self.path.display()
        );
        text.parse().unwrap()
    }
}

pub(crate) fn order(id: usize, key: &str) -> String {
    let more = format!(r#","topic":"orders","subject":"{key}","data":{{"price":1.10}}"#);
    event(&id.to_string(), &more)
}

pub(crate) async fn publish(client: &mut Client, events: impl IntoIterator<Item = String>) {
    let events: Vec<String> = events.into_iter().collect();
    let answer = client.batch("/v1/events", format!("[{}]", events.join(",")));
    answer.await.ok();
}

/// The endpoint, once it is so.
pub(crate) async fn endpoint(client: &mut Client, is: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let shown = client.get("/v1/webhooks/shop").await.ok();
            if is(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

/// Whether every request is signed with `secret`, by the official library.
pub(crate) fn verify(secret: &str, received: &[Received]) {
    let webhook = Webhook::new(secret).unwrap();
    for one in received {
        webhook.verify(&one.body, &one.headers).unwrap();
    }
}
