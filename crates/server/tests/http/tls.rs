//! TLS: both versions, certificates of clients, and files that change.

use ensue_server::{ConfigError, Probe, ProbeError, Server};
use hyper::Method;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::pki::{Authority, encrypt, write_private};
use crate::secure::{Setup, tls_client};
use crate::site::{PATIENCE, Site, event};

#[tokio::test]
async fn a_server_speaks_tls_1_2_and_1_3() {
    let (setup, authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    for (version, name) in [
        (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let config = authority.client_of(None, &[version]);
        let stream = TcpStream::connect(site.running.address()).await.unwrap();
        let stream = encrypt(config.clone(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(name));
        let mut client = tls_client(&site, config).await.unwrap();
        assert_eq!(client.get("/livez").await.text(), "alive\n");
    }
    site.end().await;
}

#[tokio::test]
async fn a_client_gets_the_newest_protocol_that_it_asks_for() {
    let (setup, authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    for (asked, given) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut config = authority.client(None);
        config.alpn_protocols = asked.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(site.running.address()).await.unwrap();
        let stream = encrypt(config, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), given);
        if given != Some(b"h2") {
            let mut client = Client::over(stream, site.running.address()).await;
            assert_eq!(client.get("/livez").await.status, 200);
            continue;
        }
        let stream = TokioIo::new(stream);
        let opened = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = opened.unwrap();
        let connection = tokio::spawn(connection);
        let request = |path: &str| {
            let request = hyper::Request::get(format!("https://localhost{path}"));
            request
                .body(http_body_util::Empty::<hyper::body::Bytes>::new())
                .unwrap()
        };
        let answer = sender.send_request(request("/livez")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer = sender.send_request(request("/v1/status")).await.unwrap();
        assert_eq!(answer.status(), 401);
        drop(sender);
        let _ = connection.await.unwrap();
    }
    site.end().await;
}

#[tokio::test]
async fn a_client_that_agreed_to_http_2_and_speaks_http_1_gets_no_answer() {
    let (setup, authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    let mut config = authority.client(None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(site.running.address()).await.unwrap();
    let mut stream = encrypt(config, stream).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // It is closed, whether or not it says goodbye.
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    site.end().await;
}

#[tokio::test]
async fn a_probe_asks_the_server_whatever_has_become_of_the_file_of_its_certificate() {
    let (setup, authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    let mut config = setup.config();
    config.listen = site.running.address().into();
    Probe::Ready.ask(&config, PATIENCE).await.unwrap();
    Probe::Live.ask(&config, PATIENCE).await.unwrap();
    // The server goes on with the certificate that it has.
    authority.sign("other", &["localhost", "127.0.0.1"]);
    for certificate in ["other.crt", "none.crt"] {
        config.tls.as_mut().unwrap().certificate = setup.path(certificate);
        Probe::Ready.ask(&config, PATIENCE).await.unwrap();
    }
    config.tls = None;
    let error = Probe::Ready.ask(&config, PATIENCE).await.unwrap_err();
    assert!(matches!(error, ProbeError::Refused { .. }), "{error}");
    site.end().await;
}

#[tokio::test]
async fn plain_http_on_a_port_with_tls_is_told_to_encrypt_and_the_server_goes_on() {
    let (setup, authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    let mut stream = TcpStream::connect(site.running.address()).await.unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    let (_, document) = answer.split_once("\r\n\r\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["code"], "not_encrypted");
    assert!(document["detail"].as_str().unwrap().contains("https://"));
    let mut client = tls_client(&site, authority.client(None)).await.unwrap();
    assert_eq!(client.get("/livez").await.status, 200);
    site.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_end_the_handshake_is_cut_off() {
    let (setup, authority) = Setup::with_tls();
    let mut config = setup.config();
    config.limits.handshake_timeout = std::time::Duration::from_secs(1);
    let site = Site::with(config).await;
    let mut slow = TcpStream::connect(site.running.address()).await.unwrap();
    slow.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut answer = Vec::new();
    let cut = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut answer)).await;
    let _ = cut.unwrap();
    let admin = format!("Bearer {}", setup.token("admin"));
    site.running.reload().await.unwrap();
    let mut client = tls_client(&site, authority.client(None)).await.unwrap();
    let headers = [("authorization", admin.as_str())];
    let metrics = client.send(Method::GET, "/metrics", &headers, "").await;
    assert!(
        metrics
            .text()
            .contains("ensue_http_handshakes_failed_total 1")
    );
    site.end().await;
}

#[tokio::test]
async fn a_client_is_known_by_the_names_in_its_certificate() {
    let (setup, authority) = Setup::with_tls();
    authority.sign("shop", &["shop.example"]);
    authority.sign("reader", &["unknown.example", "spiffe://example/reader"]);
    authority.sign("nobody", &["other.example"]);
    let site = Site::with(setup.config()).await;
    let order = event("1", r#","topic":"orders.eu""#);

    let mut shop = tls_client(&site, authority.client(Some("shop")))
        .await
        .unwrap();
    shop.event("/v1/events", order.clone()).await.ok();
    shop.get("/v1/events").await.problem(403, "forbidden");
    let mut reader = tls_client(&site, authority.client(Some("reader")))
        .await
        .unwrap();
    let page = reader.get("/v1/events").await.ok();
    assert_eq!(page["events"][0]["id"], "1");
    let refused = reader.event("/v1/events", order).await;
    refused.problem(403, "forbidden");
    let mut other = tls_client(&site, authority.client(Some("nobody")))
        .await
        .unwrap();
    let problem = other
        .get("/v1/status")
        .await
        .problem(401, "unauthenticated");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("auth.certificates"), "{detail}");
    let mut without = tls_client(&site, authority.client(None)).await.unwrap();
    without
        .get("/v1/status")
        .await
        .problem(401, "unauthenticated");
    site.end().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_connect() {
    let (setup, authority) = Setup::with_tls();
    let directory = setup.path("");
    let other = Authority::new(&directory, "other");
    other.sign("shop", &["shop.example"]);
    let site = Site::with(setup.config()).await;
    let client = authority.client(Some("shop"));
    assert!(answer_of(&site, client).await.is_err());
    site.end().await;
}

/// With TLS 1.3, a client is refused after its side of the handshake is done.
async fn answer_of(site: &Site, config: rustls::ClientConfig) -> std::io::Result<String> {
    let stream = TcpStream::connect(site.running.address()).await?;
    let mut stream = encrypt(config, stream).await?;
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn a_revoked_certificate_and_none_where_one_is_required_do_not_connect() {
    use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
    let (setup, authority) = Setup::with_tls();
    authority.sign("shop", &["shop.example"]);
    authority.sign("good", &["shop.example", "second.example"]);
    let at = rcgen::date_time_ymd(2026, 1, 1);
    let revoked = RevokedCertParams {
        // As many as it has names.
        serial_number: SerialNumber::from(1_usize.to_le_bytes().to_vec()),
        revocation_time: at,
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: at,
        next_update: rcgen::date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority.issuer).unwrap().pem().unwrap();
    setup.write("revoked.crl", &list);
    let text = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    let text = text.replace(
        "[auth]",
        "client_crl = 'revoked.crl'\nclient_certificates = 'required'\n[auth]",
    );
    setup.write("ensue.toml", &text);
    let site = Site::with(setup.config()).await;
    let good = answer_of(&site, authority.client(Some("good"))).await;
    assert!(good.unwrap().starts_with("HTTP/1.1 200"));
    assert!(
        answer_of(&site, authority.client(Some("shop")))
            .await
            .is_err()
    );
    assert!(answer_of(&site, authority.client(None)).await.is_err());
    site.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (setup, authority) = Setup::with_tls();
    let site = Site::with(setup.config()).await;
    let mut old = tls_client(&site, authority.client(None)).await.unwrap();
    assert_eq!(old.get("/livez").await.status, 200);
    let other = Authority::new(&setup.path(""), "next");
    let trusts_other = || other.client(None);
    assert!(tls_client(&site, trusts_other()).await.is_err());
    other.sign("server", &["localhost"]);
    // By itself: the server looks at its files.
    let seen = async { while tls_client(&site, trusts_other()).await.is_err() {} };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    assert_eq!(old.get("/livez").await.status, 200);
    site.end().await;
}

#[tokio::test]
async fn a_connection_whose_authority_is_gone_is_not_known_any_more() {
    let (setup, authority) = Setup::with_tls();
    authority.sign("shop", &["shop.example"]);
    let site = Site::with(setup.config()).await;
    let mut shop = tls_client(&site, authority.client(Some("shop")))
        .await
        .unwrap();
    let order = event("1", r#","topic":"orders.eu""#);
    shop.event("/v1/events", order.clone()).await.ok();
    // Another authority signs clients from now on.
    Authority::new(&setup.path(""), "ca");
    site.running.reload().await.unwrap();
    let refused = shop.event("/v1/events", order).await;
    refused.problem(401, "unauthenticated");
    site.end().await;
}

#[tokio::test]
async fn a_bad_new_file_changes_nothing_and_is_said() {
    let (setup, authority) = Setup::with_tls();
    let admin = format!("Bearer {}", setup.token("admin"));
    let site = Site::with(setup.config()).await;
    let whole = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    let key = std::fs::read_to_string(setup.path("server.key")).unwrap();
    let elsewhere = Authority::new(&setup.path(""), "elsewhere");
    elsewhere.sign("other", &["localhost"]);
    let of_another = std::fs::read_to_string(setup.path("other.key")).unwrap();
    for (file, text, part) in [
        ("server.key", "not a key", "tls.key"),
        ("server.key", of_another.as_str(), "tls.certificate"),
        ("server.crt", "", "tls.certificate"),
        ("tokens.json", "{", "auth.tokens"),
        ("ensue.toml", "listen = 1", "listen"),
        ("ensue.toml", "[role.x]", "did you mean `roles`"),
    ] {
        let path = setup.path(file);
        let before = std::fs::read_to_string(&path).unwrap();
        write_private(&path, text);
        let error = site.running.reload().await.unwrap_err().to_string();
        assert!(error.contains(part), "{file}: {error}");
        let mut client = tls_client(&site, authority.client(None)).await.unwrap();
        let headers = [("authorization", admin.as_str())];
        let status = client
            .send(Method::GET, "/v1/status", &headers, "")
            .await
            .ok();
        let problem = status["server"]["reload_problem"].as_str().unwrap();
        assert!(problem.contains(part), "{file}: {problem}");
        write_private(&path, &before);
        site.running.reload().await.unwrap();
        let status = client
            .send(Method::GET, "/v1/status", &headers, "")
            .await
            .ok();
        assert!(status["server"]["reload_problem"].is_null());
        assert!(status["server"]["reloaded"].is_string());
    }
    assert_eq!(
        std::fs::read_to_string(setup.path("ensue.toml")).unwrap(),
        whole
    );
    assert_eq!(
        std::fs::read_to_string(setup.path("server.key")).unwrap(),
        key
    );
    site.end().await;
}

#[tokio::test]
async fn a_key_that_other_users_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (setup, _authority) = Setup::with_tls();
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(setup.path("server.key"), mode).unwrap();
    let error = Server::check(&setup.config()).unwrap_err();
    assert!(matches!(error, ConfigError::Invalid { .. }));
    let error = error.to_string();
    assert!(
        error.contains("tls.key") && error.contains("chmod 600"),
        "{error}"
    );
}
