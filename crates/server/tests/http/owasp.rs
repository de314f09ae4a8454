//! OWASP API Security Top 10 (2023): a test for each.

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::audit::group;
use crate::secure::{Bearer, Setup, tls_client};
use crate::site::{Site, event};

/// Every route but for the probes, as a caller without permissions for its topic would use it. A test
/// of the routes looks whether each of them is here.
pub(crate) const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/events", "/v1/events?topic=orders.eu"),
    ("POST", "/v1/events", "/v1/events?topic=orders.eu"),
    (
        "GET",
        "/v1/events/stream",
        "/v1/events/stream?topic=orders.eu",
    ),
    ("GET", "/v1/status", "/v1/status"),
    ("GET", "/v1/groups", "/v1/groups"),
    ("GET", "/v1/groups/{group}", "/v1/groups/payments"),
    (
        "GET",
        "/v1/groups/{group}/wait",
        "/v1/groups/payments/wait?token=0&timeout=0s",
    ),
    ("DELETE", "/v1/groups/{group}", "/v1/groups/payments"),
    (
        "POST",
        "/v1/groups/{group}/reset",
        "/v1/groups/payments/reset",
    ),
    (
        "POST",
        "/v1/groups/{group}/members",
        "/v1/groups/payments/members",
    ),
    (
        "DELETE",
        "/v1/groups/{group}/members/{member}",
        "/v1/groups/payments/members/0",
    ),
    (
        "POST",
        "/v1/groups/{group}/members/{member}/renew",
        "/v1/groups/payments/members/0/renew",
    ),
    (
        "POST",
        "/v1/groups/{group}/members/{member}/take",
        "/v1/groups/payments/members/0/take",
    ),
    (
        "POST",
        "/v1/groups/{group}/members/{member}/commit",
        "/v1/groups/payments/members/0/commit",
    ),
    (
        "POST",
        "/v1/requests",
        "/v1/requests?topic=orders.eu&deadline=1s",
    ),
    ("GET", "/v1/dead-letters", "/v1/dead-letters"),
    (
        "GET",
        "/v1/groups/{group}/dead-letters/{position}",
        "/v1/groups/payments/dead-letters/0",
    ),
    (
        "POST",
        "/v1/groups/{group}/dead-letters/redrive",
        "/v1/groups/payments/dead-letters/redrive",
    ),
    (
        "POST",
        "/v1/groups/{group}/dead-letters/discard",
        "/v1/groups/payments/dead-letters/discard",
    ),
    ("GET", "/v1/sagas", "/v1/sagas"),
    (
        "GET",
        "/v1/sagas/{saga}/process",
        "/v1/sagas/payments/process?key=o-1",
    ),
    ("POST", "/v1/sagas/{saga}/retry", "/v1/sagas/payments/retry"),
    (
        "POST",
        "/v1/sagas/{saga}/compensate",
        "/v1/sagas/payments/compensate",
    ),
    ("GET", "/v1/schedules", "/v1/schedules"),
    (
        "DELETE",
        "/v1/schedules",
        "/v1/schedules?source=/shop&name=later",
    ),
    ("GET", "/v1/webhooks", "/v1/webhooks"),
    ("GET", "/v1/webhooks/{name}", "/v1/webhooks/hook"),
    ("POST", "/v1/webhooks/{name}/test", "/v1/webhooks/hook/test"),
    (
        "POST",
        "/v1/webhooks/{name}/disable",
        "/v1/webhooks/hook/disable",
    ),
    (
        "POST",
        "/v1/webhooks/{name}/enable",
        "/v1/webhooks/hook/enable",
    ),
    ("POST", "/v1/logout", "/v1/logout"),
    ("GET", "/v1/session", "/v1/session"),
    ("GET", "/v1/openapi.json", "/v1/openapi.json"),
    ("GET", "/metrics", "/metrics"),
];

/// An order, one that is scheduled, and a group of orders.
pub(crate) async fn site_with_orders(setup: &Setup) -> Site {
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    let mut owner = Bearer::connect(&site, &token).await;
    let path = "/v1/events?topic=orders.eu";
    owner.event(path, &event("secret-order", "")).await.ok();
    let later = format!("{path}&at=2100-01-01T00:00:00Z");
    owner.event(&later, &event("later", "")).await.ok();
    group(&site.engine, "payments", "orders.eu").await;
    site
}

/// API1: what a caller names, it may touch; or it is not there for all that it can tell.
#[tokio::test]
async fn api1_broken_object_level_authorization() {
    let setup = Setup::with_tokens();
    let token = setup.token("stranger-to-orders");
    let site = site_with_orders(&setup).await;
    let mut stranger = Bearer::connect(&site, &token).await;
    for (method, _, path) in ROUTES {
        let method: Method = method.parse().unwrap();
        let headers = [
            ("ensue-reason", "a try"),
            ("content-type", "application/cloudevents+json"),
        ];
        let body = event("forged", "");
        let answer = stranger.send(method.clone(), path, &headers, &body).await;
        let text = answer.text();
        assert!(
            !text.contains("secret-order") && !text.contains("later\""),
            "{method} {path}: {text}"
        );
        if answer.status != 200 {
            let status = answer.status.as_u16();
            assert!(
                [403, 404].contains(&status),
                "{method} {path}: {status} {text}"
            );
            continue;
        }
        assert_eq!(method, Method::GET, "{path}");
        assert!(!text.contains("payments"), "{path}: {text}");
    }
    let status = site.engine.status().await.unwrap();
    assert_eq!((status.groups.len(), status.scheduled), (1, 1));
    assert_eq!(site.events().await.len(), 1);
    site.end().await;
}

/// API2: no credentials, wrong ones, old ones: nothing but probes answers.
#[tokio::test]
async fn api2_broken_authentication() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = site_with_orders(&setup).await;
    let mut client = site.client().await;
    let mut forged = token.clone();
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    let forged = format!("Bearer {forged}");
    for (method, _, path) in ROUTES {
        for credentials in [None, Some(("authorization", forged.as_str()))] {
            let headers: Vec<_> = credentials.into_iter().collect();
            let method: Method = method.parse().unwrap();
            let answer = client.send(method, path, &headers, "").await;
            answer.problem(401, "unauthenticated");
        }
    }
    setup.tokens().revoke("owner").unwrap();
    site.running.reload().await.unwrap();
    let mut owner = Bearer::connect(&site, &token).await;
    owner
        .get("/v1/status")
        .await
        .problem(401, "unauthenticated");
    site.end().await;
}

/// API3: of what a caller sees, it does not see what is not its to see.
#[tokio::test]
async fn api3_broken_object_property_level_authorization() {
    let setup = Setup::with_tokens();
    let (reader, admin) = (setup.token("reader"), setup.token("admin"));
    let site = site_with_orders(&setup).await;
    let mut reader = Bearer::connect(&site, &reader).await;
    let status = reader.get("/v1/status").await.ok();
    // A directory of the machine, and what the server is told by its files.
    for (part, name) in [
        ("engine", "url"),
        ("engine", "needed"),
        ("engine", "scheduled"),
        ("engine", "next_due"),
        ("server", "reload_problem"),
    ] {
        assert!(status[part][name].is_null(), "{name}: {status}");
    }
    let mut admin = Bearer::connect(&site, &admin).await;
    let status = admin.get("/v1/status").await.ok();
    assert!(status["engine"]["url"].is_string());
    assert_eq!(status["engine"]["scheduled"], 1);
    assert!(status["engine"]["next_due"].is_string());
    assert_eq!(
        status["engine"]["groups"][0]["backlogs"],
        serde_json::json!([])
    );
    // What a client may not set is refused, not ignored.
    let path = "/v1/groups/payments/reset";
    let operator = setup.token("operator");
    site.running.reload().await.unwrap();
    let mut operator = Bearer::connect(&site, &operator).await;
    let body = r#"{"to": "latest", "role": "admin"}"#;
    operator.post(path, body).await.problem(400, "invalid_body");
    site.end().await;
}

/// API4: a caller gets its share; a body is not read before its sender is known.
#[tokio::test]
async fn api4_unrestricted_resource_consumption() {
    let setup = Setup::with_tokens();
    let site = site_with_orders(&setup).await;
    let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
    let head = "POST /v1/events?topic=orders.eu HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/cloudevents+json\r\nconnection: close\r\n\
        content-length: 1000000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Answered while most of the body is still to come.
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    site.end().await;
    // The limits themselves: `limits`, `hostile`, and `batches`.
}

/// API5: an action needs its permission, whatever else the caller may do.
#[tokio::test]
async fn api5_broken_function_level_authorization() {
    let setup = Setup::with_tokens();
    let allowed: [(&str, &[&str]); 6] = [
        ("publisher", &["POST /v1/events", "POST /v1/requests"]),
        (
            "reader",
            &[
                "GET /v1/events",
                "GET /v1/events/stream",
                "GET /v1/schedules",
            ],
        ),
        (
            "consumer",
            &[
                "POST /v1/groups/{group}/members",
                "DELETE /v1/groups/{group}/members/{member}",
                "POST /v1/groups/{group}/members/{member}/renew",
                "POST /v1/groups/{group}/members/{member}/take",
                "POST /v1/groups/{group}/members/{member}/commit",
            ],
        ),
        (
            "operator",
            &[
                "DELETE /v1/groups/{group}",
                "POST /v1/groups/{group}/reset",
                "POST /v1/groups/{group}/dead-letters/redrive",
                "POST /v1/groups/{group}/dead-letters/discard",
                "POST /v1/sagas/{saga}/retry",
                "POST /v1/sagas/{saga}/compensate",
                "DELETE /v1/schedules",
                "POST /v1/webhooks/{name}/test",
                "POST /v1/webhooks/{name}/disable",
                "POST /v1/webhooks/{name}/enable",
            ],
        ),
        ("admin", &["GET /metrics"]),
        ("nothing", &[]),
    ];
    let for_all = [
        "/v1/status",
        "/v1/groups",
        "/v1/dead-letters",
        "/v1/sagas",
        "/v1/session",
        "/v1/openapi.json",
    ];
    let text = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    setup.write("ensue.toml", &format!("{text}\n[roles.nothing]\n"));
    let site = site_with_orders(&setup).await;
    for (role, allowed) in allowed {
        let token = setup.token(role);
        site.running.reload().await.unwrap();
        for (method, route, path) in ROUTES {
            let name = format!("{method} {route}");
            let is_of_all = for_all.iter().any(|it| name == format!("GET {it}"));
            let shown = [
                "GET /v1/groups/{group}",
                "GET /v1/sagas/",
                "GET /v1/webhooks",
            ];
            let is_of_a_group = shown.iter().any(|it| name.starts_with(it));
            if is_of_all || is_of_a_group || allowed.contains(&name.as_str()) {
                continue;
            }
            let mut caller = Bearer::connect(&site, &token).await;
            let method: Method = method.parse().unwrap();
            let answer = caller.send(method, path, &[], "").await;
            answer.problem(403, "forbidden");
        }
    }
    site.end().await;
}

/// API6: what cannot be taken back takes a reason, and leaves a trace.
#[tokio::test]
async fn api6_unrestricted_access_to_sensitive_business_flows() {
    let setup = Setup::with_tokens();
    let token = setup.token("operator");
    let site = site_with_orders(&setup).await;
    let mut operator = Bearer::connect(&site, &token).await;
    let path = "/v1/groups/payments";
    let answer = operator.send(Method::DELETE, path, &[], "").await;
    answer.problem(400, "reason_required");
    let headers = [("ensue-reason", "the service is gone")];
    operator.send(Method::DELETE, path, &headers, "").await.ok();
    let auditor = setup.token("owner");
    site.running.reload().await.unwrap();
    let mut auditor = Bearer::connect(&site, &auditor).await;
    let page = auditor.get("/v1/events?topic=_audit").await;
    assert!(
        page.text().contains("the service is gone"),
        "{}",
        page.text()
    );
    site.end().await;
}

/// API7: nothing that a client says makes the server open a connection. Webhooks, which do, are held to
/// their own tests.
#[tokio::test]
async fn api7_server_side_request_forgery() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = site_with_orders(&setup).await;
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/latest/meta-data", inside.local_addr().unwrap());
    let mut owner = Bearer::connect(&site, &token).await;
    let more = format!(r#","dataschema":"{url}","subject":"{url}","data":"{url}""#);
    owner
        .event("/v1/events?topic=orders.eu", &event("1", &more))
        .await
        .ok();
    owner.get("/v1/events").await.ok();
    let proxied = owner.get(&url).await;
    assert!([403, 404].contains(&proxied.status.as_u16()), "{proxied:?}");
    let connected = tokio::time::timeout(std::time::Duration::ZERO, inside.accept()).await;
    assert!(connected.is_err(), "the server connected");
    site.end().await;
}

/// API8: it does not listen where others reach it unprotected, and shows no secret anywhere.
#[tokio::test]
async fn api8_security_misconfiguration() {
    let (setup, authority) = Setup::with_tls();
    let token = setup.token("owner");
    let mut unprotected = ensue_server::Config::default();
    unprotected.listen = "0.0.0.0:0".parse().unwrap();
    let error = ensue_server::Server::check(&unprotected)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a loopback address"), "{error}");
    let site = Site::with(setup.config()).await;
    let mut client = tls_client(&site, authority.client(None)).await.unwrap();
    let credentials = format!("Bearer {token}");
    let page = [
        ("authorization", credentials.as_str()),
        ("origin", "https://evil.example"),
    ];
    let answer = client.send(Method::GET, "/v1/status", &page, "").await;
    answer.problem(403, "cross_origin");
    let known = [("authorization", credentials.as_str())];
    let hash = std::fs::read_to_string(setup.path("tokens.json")).unwrap();
    let (_, hash) = hash.split_once("sha256:").unwrap();
    let key = std::fs::read_to_string(setup.path("server.key")).unwrap();
    let (_, secret) = token.rsplit_once('_').unwrap();
    let secrets = [secret, &hash[..43], key.lines().nth(1).unwrap()];
    let mut shown = format!("{:?} {:?}", site.running, setup.config());
    for path in [
        "/v1/status",
        "/metrics",
        "/v1/events",
        "/v1/nothing",
        "/v1/events?x=1",
    ] {
        let answer = client.send(Method::GET, path, &known, "").await;
        // Nothing is kept by caches, or taken by browsers for what it is not.
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{path}"
        );
        shown.push_str(&format!("{:?} {}", answer.headers, answer.text()));
    }
    for secret in secrets {
        assert!(!shown.contains(secret), "{shown}");
    }
    site.end().await;
}

/// API9: there is one version, every route says who may use it, and nothing else answers.
#[tokio::test]
async fn api9_improper_inventory_management() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = site_with_orders(&setup).await;
    let mut owner = Bearer::connect(&site, &token).await;
    for path in [
        "/",
        "/v0/events",
        "/v2/events",
        "/v1",
        "/v1/",
        "/v1/events/",
        "/V1/EVENTS",
        "//v1/events",
        "/v1/../v1/events",
        "/debug",
        "/metrics/",
        "/admin",
    ] {
        owner.get(path).await.problem(404, "not_found");
    }
    for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "DELETE"] {
        let method: Method = method.parse().unwrap();
        let answer = owner.send(method, "/v1/events", &[], "").await;
        answer.problem(405, "method_not_allowed");
    }
    site.end().await;
}

/// API10: what other systems send (events, headers, files) is taken for what it is: text.
#[tokio::test]
async fn api10_unsafe_consumption_of_apis() {
    let setup = Setup::with_tokens();
    let token = setup.token("owner");
    let site = site_with_orders(&setup).await;
    let mut owner = Bearer::connect(&site, &token).await;
    let path = "/v1/events?topic=orders.eu";
    let hostile = r#","subject":"\r\nset-cookie: a=b","data":"<script>alert(1)</script>""#;
    let answer = owner.event(path, &event("hostile", hostile)).await;
    assert!([200, 400].contains(&answer.status.as_u16()));
    let page = owner.get("/v1/events").await;
    assert_eq!(page.headers["content-type"], "application/json");
    assert!(!page.headers.contains_key("set-cookie"));
    let lines = [("accept", "application/x-ndjson")];
    let page = owner.send(Method::GET, "/v1/events", &lines, "").await;
    let lines = page.text().lines().count();
    assert_eq!(
        lines,
        site.events().await.len(),
        "an event cannot add a line"
    );
    // A file of tokens that someone else wrote changes nothing.
    crate::pki::write_private(&setup.path("tokens.json"), "[{\"id\": 1}]");
    site.running.reload().await.unwrap_err();
    owner.get("/v1/status").await.ok();
    site.end().await;
}
