//! What webhook endpoints reach, and what they do not.

use std::sync::Arc;

use ensue_server::Server;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::json;

use crate::endpoint::{SECRET, Secrets, verify};
use crate::receiver::Receiver;
use crate::site::Site;

#[tokio::test]
async fn a_test_delivery_says_what_the_receiver_answered_and_is_not_in_the_log() {
    let long = Bytes::from(vec![b'x'; 1_000_000]);
    let receiver = Receiver::answering(move |_| (202, &[], long.clone())).await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "")).await;
    let mut client = site.client().await;
    let tested = client
        .send(Method::POST, "/v1/webhooks/shop/test", &[], "")
        .await
        .ok();
    assert_eq!(
        (&tested["outcome"], &tested["status"]),
        (&json!("delivered"), &json!(202))
    );
    assert_eq!(
        tested["body"].as_str().unwrap().len(),
        4096,
        "as much as is kept"
    );
    let received = receiver.taken(1).await;
    verify(SECRET, &received);
    assert_eq!(received[0].event()["type"], "ensue.webhook.test");
    assert_eq!(received[0].id(), tested["webhook_id"]);
    assert!(site.events().await.is_empty());
    for path in ["/v1/webhooks/none", "/v1/webhooks/in"] {
        client.get(path).await.problem(404, "unknown_webhook");
    }
    let answer = client
        .send(Method::POST, "/v1/webhooks/none/test", &[], "")
        .await;
    answer.problem(404, "unknown_webhook");
    let shown = client.get("/v1/webhooks/shop").await;
    assert!(shown.ok()["url"].as_str().unwrap().ends_with("/…"));
    assert!(
        !shown.text().contains("/hook\""),
        "the path may be a secret"
    );
    let status = client.get("/v1/status").await.ok();
    assert_eq!(status["webhooks"][0]["last"]["status"], 202);
    site.end().await;
}

#[tokio::test]
async fn an_address_inside_is_not_called_unless_it_is_allowed() {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let mut config = secrets.config(&receiver.url(), "");
    config.webhooks.allow = vec!["10.9.9.0/24".parse().unwrap()];
    let refused = Server::check(&config).unwrap_err().to_string();
    assert!(refused.contains("an address inside"), "{refused}");
    // What a name stands for is known when it is called.
    let url = format!("http://localhost:{}/", receiver.address.port());
    config.webhooks.endpoints[0].url = url.as_str().into();
    Server::check(&config).unwrap();
    let site = Site::with(config).await;
    let mut client = site.client().await;
    let tested = client
        .send(Method::POST, "/v1/webhooks/shop/test", &[], "")
        .await
        .ok();
    let problem = tested["problem"].as_str().unwrap();
    assert!(problem.contains("not on the public internet"), "{problem}");
    site.end().await;
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let inside = Receiver::start().await;
    let location: &'static str = inside.url().leak();
    let headers: &'static [(&str, &str)] = vec![("location", location)].leak();
    let receiver = Receiver::answering(move |_| (307, headers, Bytes::new())).await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "")).await;
    let mut client = site.client().await;
    let tested = client
        .send(Method::POST, "/v1/webhooks/shop/test", &[], "")
        .await
        .ok();
    assert_eq!(
        (&tested["outcome"], &tested["status"]),
        (&json!("failed"), &json!(307))
    );
    assert!(tested["problem"].as_str().unwrap().contains("not followed"));
    assert!(inside.received().is_empty());
    site.end().await;
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&url, "timeout = \"100ms\"")).await;
    let mut client = site.client().await;
    let tested = client
        .send(Method::POST, "/v1/webhooks/shop/test", &[], "")
        .await
        .ok();
    let problem = tested["problem"].as_str().unwrap();
    assert!(problem.contains("did not answer within 100ms"), "{problem}");
    site.end().await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_is_refused_at_start_by_its_name() {
    let receiver = Receiver::start().await;
    for (text, part) in [
        ("", "no secret"),
        ("whsec_c2hvcnQ=", "5 bytes"),
        (
            "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            "public keys only",
        ),
    ] {
        let secrets = Secrets::new(text);
        let engine = ensue::Engine::open("memory:").await.unwrap();
        let mut config = secrets.config(&receiver.url(), "");
        config.listen = "127.0.0.1:0".parse().unwrap();
        let checked = Server::check(&config).unwrap_err().to_string();
        let error = Server::new(engine)
            .config(config)
            .start()
            .await
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`shop`") && error.contains(part), "{error}");
        assert!(!error.contains("c2hv"), "{error}");
        assert_eq!(checked, error);
    }
}

#[tokio::test]
async fn a_receiver_with_tls_is_called_when_its_authority_is_trusted() {
    use rustls::pki_types::PrivateKeyDer;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let answer = |_| async {
                Ok::<_, std::convert::Infallible>(hyper::Response::new(String::from("tls")))
            };
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(
                    hyper_util::rt::TokioIo::new(stream),
                    hyper::service::service_fn(answer),
                )
                .await;
        }
    });
    let secrets = Secrets::new(SECRET);
    let ca_file = secrets.path.with_extension("pem");
    std::fs::write(&ca_file, certified.cert.pem()).unwrap();
    for ca_file in [Some(ca_file), None] {
        let mut config = secrets.config(&url, "");
        let is_trusted = ca_file.is_some();
        config.webhooks.ca_file = ca_file;
        let site = Site::with(config).await;
        let mut client = site.client().await;
        let tested = client
            .send(Method::POST, "/v1/webhooks/shop/test", &[], "")
            .await
            .ok();
        if is_trusted {
            assert_eq!(tested["body"], "tls", "{tested}");
        } else {
            let problem = tested["problem"].as_str().unwrap();
            assert!(problem.contains("no TLS with `localhost`"), "{problem}");
        }
        site.end().await;
    }
}
