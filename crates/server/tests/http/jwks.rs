//! JSON Web Tokens of an issuer whose keys are fetched from it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::receiver::{Received, Receiver, Reply};
use crate::secure::{Bearer, ROLES, Setup};
use crate::signer::{Signer, claims};
use crate::site::{PATIENCE, Site};

const METADATA: &str = "/.well-known/openid-configuration";

/// An issuer that answers on loopback, and a server that takes its tokens.
struct Issuer {
    receiver: Receiver,
    signer: Arc<Mutex<Signer>>,
    setup: Setup,
}

impl Issuer {
    async fn start() -> Self {
        let signer = Arc::new(Mutex::new(Signer::p256()));
        let receiver = Receiver::start().await;
        let url = format!("http://{}", receiver.address);
        let of_keys = signer.clone();
        let known = url.clone();
        receiver.answer(move |received| answer(received, &known, &of_keys.lock().unwrap()));
        let setup = Setup::new(&text(&url, ""));
        Self {
            receiver,
            signer,
            setup,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.receiver.address)
    }

    /// A token of the issuer's key, under this name of the key.
    fn token(&self, kid: &str) -> String {
        let header = json!({"alg": "ES256", "kid": kid});
        let claims = claims(json!({"iss": self.url()}));
        self.signer.lock().unwrap().token(&header, &claims)
    }

    /// How often it was asked for its keys.
    fn fetches(&self) -> usize {
        let received = self.receiver.received();
        received.iter().filter(|it| it.path == "/keys").count()
    }

    async fn caller(&self, site: &Site) -> Bearer {
        Bearer::connect(site, &self.token("one")).await
    }

    /// What the status says of it to an admin.
    async fn state(&self, site: &Site) -> Value {
        let token = self.setup.token("admin");
        site.running.reload().await.unwrap();
        let mut admin = Bearer::connect(site, &token).await;
        let status = admin.get("/v1/status").await.ok();
        let issuers = status["server"]["issuers"].as_array().unwrap().clone();
        assert_eq!(issuers.len(), 1);
        assert_eq!(issuers[0]["issuer"], self.url());
        issuers[0].clone()
    }
}

fn answer(received: &Received, url: &str, signer: &Signer) -> Reply {
    match received.path.as_str() {
        METADATA => ok(&json!({"issuer": url, "jwks_uri": format!("{url}/keys")})),
        "/keys" => ok(&json!({"keys": [signer.jwk("one")]})),
        _ => (404, &[], "".into()),
    }
}

fn ok(document: &Value) -> Reply {
    (200, &[], document.to_string().into())
}

#[tokio::test]
async fn keys_are_found_by_the_name_of_the_issuer_or_at_a_url_and_kept() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    for (setting, documents) in [
        ("".to_owned(), 2),
        (format!("keys_url = '{url}/keys'\n"), 1),
    ] {
        issuer.setup.write("ensue.toml", &text(&url, &setting));
        let (before, asked) = (issuer.fetches(), issuer.receiver.received().len());
        let site = Site::with(issuer.setup.config()).await;
        let mut caller = issuer.caller(&site).await;
        for _ in 0..5 {
            caller.get("/v1/events").await.ok();
        }
        site.running.reload().await.unwrap();
        caller.get("/v1/events").await.ok();
        assert_eq!(issuer.fetches() - before, 1);
        assert_eq!(issuer.receiver.received().len() - asked, documents);
        let state = issuer.state(&site).await;
        assert_eq!(state["keys"], 1);
        assert_eq!(state["problem"], Value::Null);
        assert!(state["fetched"].is_string());
        site.end().await;
    }
}

/// A configuration that takes tokens of this issuer.
fn text(issuer: &str, more: &str) -> String {
    format!(
        "[auth]\ntokens = 'tokens.json'\n[auth.jwt]\nissuer = '{issuer}'\naudience = 'ensue'\n{more}{ROLES}"
    )
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_once_and_made_up_ones_cause_few_fetches() {
    let issuer = Issuer::start().await;
    let site = Site::with(issuer.setup.config()).await;
    let old = issuer.token("one");
    let mut before = Bearer::connect(&site, &old).await;
    before.get("/v1/events").await.ok();
    let path = "/v1/events/stream?topic=orders.eu";
    let client = site.client().await;
    let stream = client.stream_as(path, &format!("Bearer {old}")).await;
    let mut stream = stream.unwrap();
    *issuer.signer.lock().unwrap() = Signer::p256();
    // Many at once come with the new key.
    let asking = (0..16).map(|_| async {
        let mut caller = issuer.caller(&site).await;
        caller.get("/v1/events").await.ok();
    });
    futures_util::future::join_all(asking).await;
    assert_eq!(issuer.fetches(), 2);
    before
        .get("/v1/events")
        .await
        .problem(401, "unauthenticated");
    let last = stream.next().await.unwrap();
    assert_eq!(last.data.unwrap()["code"], "unauthenticated");
    // No key of the issuer has these names.
    for made_up in 0..100 {
        let token = issuer.token(&format!("made-up-{made_up}"));
        let mut caller = Bearer::connect(&site, &token).await;
        let answer = caller.get("/v1/events").await;
        answer.problem(401, "unauthenticated");
    }
    // Two that were left, and those of the time that this takes.
    assert!(issuer.fetches() <= 2 + 2 + 3, "{}", issuer.fetches());
    let mut caller = issuer.caller(&site).await;
    caller.get("/v1/events").await.ok();
    site.end().await;
}

#[tokio::test]
async fn the_last_keys_are_kept_while_the_issuer_is_away_and_the_status_says_why() {
    let mut issuer = Issuer::start().await;
    let site = Site::with(issuer.setup.config()).await;
    let mut caller = issuer.caller(&site).await;
    caller.get("/v1/events").await.ok();
    let mut stranger = site.client().await;
    assert_eq!(stranger.get("/readyz").await.text(), "ready\n");
    issuer.receiver.down().await;
    // It asks for other keys, which do not come.
    let mut other = Bearer::connect(&site, &issuer.token("two")).await;
    other
        .get("/v1/events")
        .await
        .problem(401, "unauthenticated");
    caller.get("/v1/events").await.ok();
    let state = issuer.state(&site).await;
    let problem = state["problem"].as_str().unwrap();
    assert!(problem.contains("cannot connect"), "{problem}");
    assert_eq!(state["keys"], 1);
    // Addresses are not for everyone.
    let status = caller.get("/v1/status").await.ok();
    assert_eq!(status["server"]["issuers"], json!([]));
    let ready = caller.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("last known keys"), "{}", ready.text());
    site.end().await;
}

#[tokio::test]
async fn a_server_that_never_had_keys_is_not_ready_and_says_so_until_they_come() {
    let mut issuer = Issuer::start().await;
    issuer.receiver.down().await;
    let site = Site::with(issuer.setup.config()).await;
    let mut caller = issuer.caller(&site).await;
    let answer = caller.get("/v1/events").await;
    let problem = answer.problem(503, "issuer_unavailable");
    assert_eq!(problem["in_doubt"], false);
    assert!(answer.headers.contains_key("retry-after"));
    let ready = caller.get("/readyz").await;
    ready.problem(503, "overloaded");
    // Who has a token of the server needs no issuer.
    let token = issuer.setup.token("reader");
    site.running.reload().await.unwrap();
    let mut reader = Bearer::connect(&site, &token).await;
    reader.get("/v1/events").await.ok();
    // That one issuer cannot be asked keeps nobody else away.
    let ready = reader.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.text().contains("but for callers of an issuer"));
    assert_eq!(metrics(&issuer, &site).await, ["keys 0", "away 1"]);
    issuer.receiver.up().await;
    let waiting = async {
        while caller.get("/v1/events").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(caller.get("/readyz").await.text(), "ready\n");
    assert_eq!(metrics(&issuer, &site).await, ["keys 1", "away 0"]);
    site.end().await;
}

/// What the metrics say of the issuer.
async fn metrics(issuer: &Issuer, site: &Site) -> Vec<String> {
    let token = issuer.setup.token("admin");
    site.running.reload().await.unwrap();
    let mut admin = Bearer::connect(site, &token).await;
    let answer = admin.get("/metrics").await;
    let label = format!("{{issuer=\"{}\"}}", issuer.url());
    let lines = answer.text().lines();
    let lines = lines.filter_map(|line| line.strip_prefix("ensue_issuer_"));
    lines.map(|line| line.replace(&label, "")).collect()
}

#[tokio::test]
async fn an_issuer_that_redirects_is_too_large_or_is_another_gives_no_keys() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    let keys = json!({"keys": [issuer.signer.lock().unwrap().jwk("one")]});
    let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
    let of = |path: &'static str, reply: Reply| {
        let (keys, metadata) = (keys.clone(), metadata.clone());
        issuer
            .receiver
            .answer(move |received| match received.path.as_str() {
                asked if asked == path => reply.clone(),
                METADATA => ok(&metadata),
                // Also where the redirect leads.
                _ => ok(&keys),
            });
    };
    let large = format!("{keys}{}", " ".repeat(300_000));
    let cases: [(&str, Reply, &str); 6] = [
        ("/keys", (302, &[("location", "/other")], "".into()), "302"),
        (METADATA, (301, &[("location", "/other")], "".into()), "301"),
        ("/keys", (200, &[], large.into()), "larger than"),
        ("/keys", (200, &[], "<html>".into()), "JWKS"),
        (
            "/keys",
            ok(&json!({"keys": [{"kty": "oct", "k": "AAAA"}]})),
            "no key",
        ),
        (
            METADATA,
            ok(&json!({"issuer": "https://evil.example", "jwks_uri": format!("{url}/keys")})),
            "alike",
        ),
    ];
    for (path, reply, part) in cases {
        of(path, reply);
        let site = Site::with(issuer.setup.config()).await;
        let mut caller = issuer.caller(&site).await;
        let answer = caller.get("/v1/events").await;
        answer.problem(503, "issuer_unavailable");
        let state = issuer.state(&site).await;
        let problem = state["problem"].as_str().unwrap();
        assert!(problem.contains(part), "{part}: {problem}");
        site.end().await;
    }
}
