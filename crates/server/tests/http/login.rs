//! The login of people: a browser, this server, and a provider whose tokens may be hostile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::pki::write_private;
use crate::receiver::Receiver;
use crate::secure::{Bearer, ROLES, Setup};
use crate::signer::{Signer, seconds};
use crate::site::{Site, event};

pub(crate) const URL: &str = "https://ensue.example";
const OWN: (&str, &str) = ("origin", URL);

/// A provider, and a server at which people log in with it.
struct Scene {
    provider: Receiver,
    signer: Arc<Signer>,
    /// What the provider gives for a code.
    token: Arc<Mutex<String>>,
    setup: Setup,
    site: Site,
}

/// A browser: it keeps cookies.
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

/// What the provider is asked for.
struct Asked(BTreeMap<String, String>);

fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = pairs.map(|(name, value)| {
        let value = percent_decode_str(value).decode_utf8().unwrap();
        (name.to_owned(), value.into_owned())
    });
    decoded.collect()
}

pub(crate) fn text(issuer: &str, client: &str) -> String {
    format!(
        "[auth]\ntokens = 'tokens.json'\n[auth.login]\nissuer = '{issuer}'\nclient_id = '{client}'\n\
         client_secret = 'secret'\nurl = '{URL}'\nscopes = ['profile']\n{ROLES}"
    )
}

impl Scene {
    async fn start() -> Self {
        Self::saying(json!({})).await
    }

    /// With a provider that says more of itself.
    async fn saying(more: Value) -> Self {
        let (signer, token) = (
            Arc::new(Signer::p256()),
            Arc::new(Mutex::new(String::new())),
        );
        let provider = Receiver::start().await;
        let url = format!("http://{}", provider.address);
        let setup = Setup::new(&text(&url, "ensue"));
        write_private(&setup.path("secret"), "s3cr&t\n");
        let (keys, given) = (json!({"keys": [signer.jwk("one")]}), token.clone());
        let mut metadata = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"),
            "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        });
        for (name, value) in more.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        provider.answer(move |received| {
            let document = match received.path.as_str() {
                "/.well-known/openid-configuration" => metadata.clone(),
                "/keys" => keys.clone(),
                "/token" => json!({"token_type": "Bearer", "id_token": *given.lock().unwrap()}),
                _ => return (404, &[], "".into()),
            };
            (200, &[], document.to_string().into())
        });
        let site = Site::with(setup.config()).await;
        Self {
            provider,
            signer,
            token,
            setup,
            site,
        }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.provider.address)
    }

    async fn browser(&self) -> Browser {
        Browser {
            client: self.site.client().await,
            cookies: BTreeMap::new(),
        }
    }

    /// The claims of an ID token for a login that was asked for.
    fn claims(&self, asked: &Asked) -> Value {
        json!({
            "iss": self.issuer(), "aud": "ensue", "sub": "erika", "nonce": asked.0["nonce"],
            "iat": seconds(), "exp": seconds() + 300, "roles": ["reader", "publisher", "staff"],
        })
    }

    /// What the provider gives for the next code.
    fn give(&self, claims: &Value) {
        let header = json!({"alg": "ES256", "kid": "one"});
        *self.token.lock().unwrap() = self.signer.token(&header, claims);
    }

    /// The forms in which codes were exchanged, and their credentials.
    fn exchanges(&self) -> Vec<(BTreeMap<String, String>, Option<String>)> {
        let received = self.provider.received().into_iter();
        let received = received.filter(|it| it.path == "/token");
        let exchanges = received.map(|it| {
            let credentials = it.headers.get("authorization");
            let credentials = credentials.map(|it| it.to_str().unwrap().to_owned());
            (fields(std::str::from_utf8(&it.body).unwrap()), credentials)
        });
        exchanges.collect()
    }

    /// A browser that has logged in.
    async fn logged_in(&self) -> Browser {
        let mut browser = self.browser().await;
        let asked = browser.begin().await;
        self.give(&self.claims(&asked));
        let answer = browser.back(&asked, "code").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        browser
    }
}

impl Browser {
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let cookies = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let own = [("host", "ensue.example"), ("cookie", cookies.as_str())];
        let headers = [&own[..], headers].concat();
        let answer = self
            .client
            .send(method, path, &headers, body.to_owned())
            .await;
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if set.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// Goes to log in, and gives what it takes to the provider.
    async fn begin(&mut self) -> Asked {
        let answer = self
            .get("/v1/login?return_to=/v1/events?topic=orders.eu%26limit=1")
            .await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        let location = answer.headers["location"].to_str().unwrap();
        let (_, query) = location.split_once("/authorize?").unwrap();
        Asked(fields(query))
    }

    /// Comes back from the provider.
    async fn back(&mut self, asked: &Asked, code: &str) -> Answer {
        let path = format!("/v1/login/callback?code={code}&state={}", asked.0["state"]);
        self.back_by(&path).await
    }

    pub(crate) async fn back_by(&mut self, path: &str) -> Answer {
        let headers = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        self.send(Method::GET, path, &headers, "").await
    }

    fn has_session(&self) -> bool {
        self.cookies.contains_key("__Host-ensue")
    }
}

#[tokio::test]
async fn a_person_logs_in_and_is_known_by_their_claims_until_they_log_out() {
    let scene = Scene::start().await;
    let mut browser = scene.browser().await;
    let answer = browser.get("/v1/login").await;
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-ensue-login="), "{set}");
    assert!(
        set.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"),
        "{set}"
    );
    let asked = browser.begin().await;
    let expected = [
        ("response_type", "code"),
        ("client_id", "ensue"),
        ("redirect_uri", "https://ensue.example/v1/login/callback"),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in expected {
        assert_eq!(asked.0[name], value);
    }
    scene.give(&scene.claims(&asked));
    let answer = browser.back(&asked, "a%2Fcode").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(
        answer
            .text()
            .contains("url=/v1/events?topic=orders.eu&amp;limit=1\""),
        "{}",
        answer.text()
    );
    let sets: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    let set = sets[0].to_str().unwrap();
    assert!(set.starts_with("__Host-ensue="), "{set}");
    assert!(
        set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"),
        "{set}"
    );
    assert!(!browser.cookies.contains_key("__Host-ensue-login"));
    // The code was exchanged by who has begun, with the client's secret.
    let (form, credentials) = scene.exchanges().pop().unwrap();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "a/code");
    assert_eq!(
        form["redirect_uri"],
        "https://ensue.example/v1/login/callback"
    );
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    assert_eq!(challenge, asked.0["code_challenge"]);
    assert_eq!(credentials.unwrap(), "Basic ZW5zdWU6czNjciUyNnQ=");
    // What the session may do.
    let session = browser.get("/v1/session").await.ok();
    assert_eq!(session["caller"], "login:erika");
    assert_eq!(session["known_by"], "session");
    assert_eq!(session["read"], json!(["orders.>"]));
    assert_eq!(session["admin"], false);
    browser.get("/v1/events?topic=orders.eu").await.ok();
    browser.get("/metrics").await.problem(403, "forbidden");
    let refused = browser.send(Method::POST, "/v1/logout", &[], "").await;
    refused.problem(403, "cross_origin");
    let stale = browser.cookies.clone();
    let answer = browser.send(Method::POST, "/v1/logout", &[OWN], "").await;
    assert_eq!(answer.status, 204);
    assert!(!browser.has_session());
    let unknown = browser.get("/v1/session").await;
    let unknown = unknown.problem(401, "unauthenticated")["detail"].to_string();
    assert!(unknown.contains("`/v1/login`"), "{unknown}");
    browser.cookies = stale;
    browser
        .get("/v1/session")
        .await
        .problem(401, "unauthenticated");
    let query = ensue::engine::Query {
        topics: Some("_audit".parse().unwrap()),
        ..ensue::engine::Query::default()
    };
    let trail = scene.site.engine.shared().read(query).await.unwrap();
    let trail: Vec<Value> = trail
        .events
        .iter()
        .map(|it| serde_json::from_slice(it.envelope.payload()).unwrap())
        .collect();
    let actions: Vec<_> = trail
        .iter()
        .map(|it| it["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["session.open", "session.close"]);
    assert!(trail[0].to_string().contains("login:erika"), "{}", trail[0]);
    scene.site.end().await;
}

#[tokio::test]
async fn a_token_that_is_hostile_or_for_another_login_gives_no_session() {
    let scene = Scene::start().await;
    let mut browser = scene.browser().await;
    let cases = [
        ("nonce", json!("another"), "nonce"),
        ("nonce", json!(null), "nonce"),
        ("aud", json!("other"), "audience"),
        ("aud", json!(["ensue", "other"]), "azp"),
        ("azp", json!("other"), "azp"),
        ("exp", json!(seconds() - 1), "expired"),
        ("exp", json!(null), "time"),
        ("iss", json!("https://evil.example"), "issuer"),
        ("iss", json!(format!("{}/", scene.issuer())), "issuer"),
        ("sub", json!(null), "sub"),
        ("sub", json!("a\nb"), "sub"),
        ("nbf", json!(seconds() + 3600), "nbf"),
    ];
    for (name, value, part) in cases {
        let asked = browser.begin().await;
        let mut claims = scene.claims(&asked);
        claims[name] = value;
        scene.give(&claims);
        let problem = browser
            .back(&asked, "code")
            .await
            .problem(400, "login_failed");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{name}: {detail}");
        assert!(!browser.has_session());
    }
    // Unsigned, of another key, and by an algorithm that a public key would do for.
    let none = json!({"alg": "none"});
    let symmetric = json!({"alg": "HS256", "kid": "one"});
    for header in [
        none.clone(),
        symmetric,
        json!({"alg": "ES256", "kid": "one"}),
    ] {
        let asked = browser.begin().await;
        let claims = scene.claims(&asked);
        let mut token = Signer::p256().token(&header, &claims);
        if header == none {
            token.truncate(token.rfind('.').unwrap() + 1);
        }
        *scene.token.lock().unwrap() = token;
        browser
            .back(&asked, "code")
            .await
            .problem(400, "login_failed");
        assert!(!browser.has_session());
    }
    // The same browser logs in all the same.
    let asked = browser.begin().await;
    scene.give(&scene.claims(&asked));
    assert_eq!(browser.back(&asked, "code").await.status, 200);
    scene.site.end().await;
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for_or_comes_again_is_refused() {
    let scene =
        Scene::saying(json!({"authorization_response_iss_parameter_supported": true})).await;
    let issuer = scene.issuer();
    let mut browser = scene.browser().await;
    let asked = browser.begin().await;
    scene.give(&scene.claims(&asked));
    let state = asked.0["state"].clone();
    let path = |state: &str, more: &str| format!("/v1/login/callback?code=c&state={state}{more}");
    let own = format!("&iss={issuer}");
    // Made up, or of the login of another, who would have this browser use their session.
    let mut other = scene.browser().await;
    let theirs = other.begin().await.0["state"].clone();
    for state in ["", "made-up", &theirs] {
        let answer = browser.back_by(&path(state, &own)).await;
        answer.problem(400, "login_failed");
    }
    other.cookies.clear();
    other
        .back_by(&path(&theirs, &own))
        .await
        .problem(400, "login_failed");
    // A parameter twice has two meanings.
    let twice = path(&state, &format!("&state={state}{own}"));
    browser
        .back_by(&twice)
        .await
        .problem(400, "invalid_parameter");
    assert_eq!(scene.exchanges().len(), 0);
    let whole = path(&state, &own);
    let before = browser.cookies.clone();
    assert_eq!(browser.back_by(&whole).await.status, 200);
    assert_eq!(scene.exchanges().len(), 1);
    // Again, by who has seen all of it.
    browser.cookies = before;
    browser.back_by(&whole).await.problem(400, "login_failed");
    assert_eq!(scene.exchanges().len(), 1);
    let refused = format!("{own}&error=access_denied");
    // From another provider, or from one that does not say who it is; or a refusal.
    for (more, part) in [
        ("&iss=https://evil.example", "`iss`"),
        ("", "`iss`"),
        (refused.as_str(), "access_denied"),
    ] {
        let asked = browser.begin().await;
        let answer = browser.back_by(&path(&asked.0["state"], more)).await;
        let problem = answer.problem(400, "login_failed").to_string();
        assert!(problem.contains(part), "{problem}");
    }
    assert_eq!(scene.exchanges().len(), 1);
    scene.site.end().await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_with_a_session() {
    let scene = Scene::start().await;
    let mut browser = scene.logged_in().await;
    let path = "/v1/events?topic=orders.eu";
    let body = event("1", "");
    let kind = ("content-type", "application/cloudevents+json");
    for hostile in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://ensue.example")],
        &[("origin", "https://ensue.example:8443")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[OWN, ("sec-fetch-site", "cross-site")],
    ] {
        let headers = [&[kind], hostile].concat();
        let answer = browser.send(Method::POST, path, &headers, &body).await;
        answer.problem(403, "cross_origin");
    }
    assert!(scene.site.events().await.is_empty());
    for own in [OWN, ("sec-fetch-site", "same-origin")] {
        browser
            .send(Method::POST, path, &[kind, own], &body)
            .await
            .ok();
    }
    // A token says itself who sends it; the cookie adds nothing to it.
    let token = scene.setup.token("reader");
    scene.site.running.reload().await.unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [kind, OWN, ("authorization", bearer.as_str())];
    let answer = browser.send(Method::POST, path, &headers, &body).await;
    answer.problem(403, "forbidden");
    scene.site.end().await;
}

#[tokio::test]
async fn a_session_ends_with_all_of_its_person_and_with_the_login_it_is_from() {
    let scene = Scene::start().await;
    let (mut one, mut other) = (scene.logged_in().await, scene.logged_in().await);
    assert_ne!(one.cookies["__Host-ensue"], other.cookies["__Host-ensue"]);
    let everywhere = "/v1/logout?everywhere=true";
    let answer = one.send(Method::POST, everywhere, &[OWN], "").await;
    assert_eq!(answer.status, 204);
    other
        .get("/v1/session")
        .await
        .problem(401, "unauthenticated");
    // Roles are what the configuration says now.
    let mut third = scene.logged_in().await;
    let now = text(&scene.issuer(), "ensue").replace("[roles.reader]", "[roles.former-reader]");
    scene.setup.write("ensue.toml", &now);
    scene.site.running.reload().await.unwrap();
    third
        .get("/v1/events?topic=orders.eu")
        .await
        .problem(403, "forbidden");
    scene
        .setup
        .write("ensue.toml", &text(&scene.issuer(), "another"));
    scene.site.running.reload().await.unwrap();
    third
        .get("/v1/session")
        .await
        .problem(401, "unauthenticated");
    // A token of the server does not log out.
    let token = scene.setup.token("reader");
    scene.site.running.reload().await.unwrap();
    let mut reader = Bearer::connect(&scene.site, &token).await;
    reader
        .post("/v1/logout", "")
        .await
        .problem(403, "forbidden");
    scene.site.end().await;
}

#[tokio::test]
async fn a_server_without_a_provider_sends_no_one_to_log_in() {
    let setup = Setup::with_tokens();
    let site = Site::with(setup.config()).await;
    let mut client = site.client().await;
    for path in ["/v1/login", "/v1/login/callback?code=c&state=s"] {
        client.get(path).await.problem(404, "not_found");
    }
    site.end().await;
    // One that does not answer says so.
    let setup = Setup::new(&text("http://127.0.0.1:9", "ensue"));
    write_private(&setup.path("secret"), "secret");
    let site = Site::with(setup.config()).await;
    let mut client = site.client().await;
    client
        .get("/v1/login")
        .await
        .problem(503, "issuer_unavailable");
    let path = "/v1/login?return_to=//evil.example";
    client.get(path).await.problem(400, "invalid_parameter");
    site.end().await;
}

#[test]
fn a_login_that_lacks_something_or_is_in_the_open_is_an_error() {
    let whole = "issuer = 'https://id.example'\nclient_id = 'c'\nurl = 'https://ensue.example'\n";
    for (from, to, part) in [
        ("client_id = 'c'", "", "auth.login.client_id"),
        ("https://id", "http://id", "auth.login.issuer"),
        ("https://ensue", "http://ensue", "auth.login.url"),
        ("ensue.example", "ensue.example/path", "without a path"),
        ("client_id", "client", "did you mean `auth.login.client_id`"),
        (
            "client_id",
            "session_idle = '1s'\nclient_id",
            "session_idle",
        ),
        ("client_id", "session_max = '1y'\nclient_id", "session_max"),
        (
            "client_id",
            "scopes = ['a b']\nclient_id",
            "auth.login.scopes",
        ),
    ] {
        let text = format!("[auth.login]\n{}", whole.replacen(from, to, 1));
        let error = text
            .parse::<ensue_server::Config>()
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
    let config = format!("[auth.login]\n{whole}").parse::<ensue_server::Config>();
    config.unwrap().check().unwrap();
}
