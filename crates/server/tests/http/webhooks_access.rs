//! Who may see and operate webhooks, on a server that asks callers who they are.

use ensue::Timestamp;
use hyper::Method;
use standardwebhooks::Webhook;

use crate::endpoint::SECRET;
use crate::pki::write_private;
use crate::receiver::Receiver;
use crate::secure::{Bearer, ROLES, Setup};
use crate::site::Site;

/// The roles and tokens of other tests, an endpoint for orders and a sender of some.
async fn setup(receiver: &Receiver) -> Setup {
    let text = format!(
        r#"
        [auth]
        tokens = "tokens.json"
        {ROLES}
        [webhooks]
        allow = ["127.0.0.1"]
        [[webhooks.endpoint]]
        name = "hook"
        url = "{}"
        topics = ["orders.>"]
        secrets = {{ file = "hook.secret" }}
        [[webhooks.in]]
        name = "bank"
        topic = "orders.paid"
        type = "order.paid"
        secrets = {{ file = "hook.secret" }}
        "#,
        receiver.url()
    );
    let setup = Setup::new(&text);
    // Where the configuration is, as its other files are.
    write_private(&setup.path("hook.secret"), SECRET);
    setup
}

#[tokio::test]
async fn a_caller_sees_and_operates_the_endpoints_of_its_topics_alone() {
    let receiver = Receiver::start().await;
    let setup = setup(&receiver).await;
    let roles = ["operator", "reader", "admin", "stranger-to-orders"];
    let tokens = roles.map(|role| setup.token(role));
    let site = Site::with(setup.config()).await;
    let [operator, reader, admin, stranger] =
        tokens.each_ref().map(|it| Bearer::connect(&site, it));
    let (mut operator, mut reader) = (operator.await, reader.await);
    let (mut admin, mut stranger) = (admin.await, stranger.await);
    let test = "/v1/webhooks/hook/test";
    let tested = operator.send(Method::POST, test, &[], "").await.ok();
    assert_eq!(tested["outcome"], "delivered");
    for caller in [&mut operator, &mut reader] {
        let shown = caller.get("/v1/webhooks/hook").await.ok();
        assert_eq!(shown["responses"][0]["status"], 204);
        let all = caller.get("/v1/webhooks").await.ok();
        assert_eq!(all["endpoints"][0]["name"], "hook");
    }
    // The server as a whole, and nothing of what is in events.
    let shown = admin.get("/v1/webhooks/hook").await.ok();
    assert_eq!(
        (&shown["state"], &shown["last"]),
        (&"active".into(), &().into())
    );
    assert_eq!(shown["responses"], serde_json::json!([]));
    let all = stranger.get("/v1/webhooks").await.ok();
    assert_eq!(all, serde_json::json!({ "endpoints": [], "in": [] }));
    let status = stranger.get("/v1/status").await.ok();
    assert_eq!(status["webhooks"], serde_json::json!([]));
    assert_eq!(status["engine"]["groups"], serde_json::json!([]));
    stranger
        .get("/v1/webhooks/hook")
        .await
        .problem(404, "unknown_webhook");
    for caller in [&mut reader, &mut admin, &mut stranger] {
        for what in ["test", "disable", "enable"] {
            let path = format!("/v1/webhooks/hook/{what}");
            let answer = caller.send(Method::POST, &path, &[], "").await;
            let status = answer.status.as_u16();
            assert!([403, 404].contains(&status), "{what}: {status}");
        }
    }
    assert_eq!(receiver.received().len(), 1);
    let shown = reader.get("/v1/webhooks/hook").await.ok();
    assert_eq!(shown["state"], "active");
    site.end().await;
}

#[tokio::test]
async fn a_sender_needs_no_token_but_its_signature() {
    let receiver = Receiver::start().await;
    let setup = setup(&receiver).await;
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    let mut sender = site.client().await;
    let path = "/v1/webhooks/in/bank";
    let sent = Timestamp::now().as_micros() / 1_000_000;
    let signature = Webhook::new(SECRET)
        .unwrap()
        .sign("m", sent, b"{}")
        .unwrap();
    let sent = sent.to_string();
    let headers = [
        ("webhook-id", "m"),
        ("webhook-timestamp", sent.as_str()),
        ("webhook-signature", &signature),
    ];
    let receipt = sender.send(Method::POST, path, &headers, "{}").await.ok();
    assert_eq!(receipt["duplicate"], false);
    // A token is no signature.
    let mut owner = Bearer::connect(&site, &token).await;
    let unsigned = owner.send(Method::POST, path, &[], "{}").await;
    unsigned.problem(401, "invalid_signature");
    assert_eq!(receiver.taken(1).await[0].id(), "m");
    site.end().await;
}

#[tokio::test]
async fn no_client_joins_the_group_of_a_webhook_and_takes_its_deliveries() {
    let receiver = Receiver::start().await;
    let setup = setup(&receiver).await;
    let token = setup.token("owner");
    let site = Site::with(setup.config()).await;
    let mut owner = Bearer::connect(&site, &token).await;
    let body = r#"{"topics": ["orders.>"]}"#;
    let refused = owner.post("/v1/groups/webhook.hook/members", body).await;
    let detail = refused.problem(422, "refused")["detail"].to_string();
    assert!(detail.contains("webhook of this server"), "{detail}");
    // One that is of no endpoint here may be of another server.
    owner
        .post("/v1/groups/webhook.other/members", body)
        .await
        .ok();
    site.end().await;
}
