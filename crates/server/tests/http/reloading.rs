//! Certificates, tokens and permissions are reloaded while clients append.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::pki::write_private;
use crate::secure::{Setup, tls_client};
use crate::site::{PATIENCE, Site, event};

const CLIENTS: usize = 4;
const RELOADS: usize = 20;
/// How many requests a client sends over one connection.
const REQUESTS: usize = 5;

#[tokio::test]
async fn nothing_that_clients_append_fails_while_everything_is_reloaded() {
    let (setup, authority) = Setup::with_tls();
    let token = format!("Bearer {}", setup.token("publisher"));
    let site = Site::with(setup.config()).await;
    let (is_over, appended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = |number: usize| {
        let (site, authority, token) = (&site, &authority, token.as_str());
        let (is_over, appended) = (&is_over, &appended);
        async move {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                // Handshakes are made all the time, too.
                let mut client = tls_client(site, authority.client(None)).await.unwrap();
                for _ in 0..REQUESTS {
                    let headers = [
                        ("content-type", "application/cloudevents+json"),
                        ("authorization", token),
                    ];
                    let order = event(&format!("{number}-{count}"), r#","topic":"orders.eu""#);
                    let answer = client.send(hyper::Method::POST, "/v1/events", &headers, order);
                    assert_eq!(answer.await.ok()["duplicate"], false);
                    count += 1;
                    appended.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    let reloading = async {
        for round in 0..RELOADS {
            let before = appended.load(Ordering::Relaxed);
            if round % 4 == 3 {
                // What cannot be used changes nothing.
                let whole = std::fs::read_to_string(setup.path("tokens.json")).unwrap();
                write_private(&setup.path("tokens.json"), "{");
                site.running.reload().await.unwrap_err();
                write_private(&setup.path("tokens.json"), &whole);
            }
            setup.token("reader");
            authority.sign("server", &["localhost"]);
            site.running.reload().await.unwrap();
            let goes_on = async {
                while appended.load(Ordering::Relaxed) < before + CLIENTS * REQUESTS {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, goes_on).await.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(client));
    tokio::join!(clients, reloading);
    let mut client = tls_client(&site, authority.client(None)).await.unwrap();
    assert_eq!(client.get("/livez").await.status, 200);
    let mut query = ensue::engine::Query {
        topics: Some("orders.eu".parse().unwrap()),
        ..ensue::engine::Query::default()
    };
    let mut found = 0;
    loop {
        let page = site.engine.shared().read(query.clone()).await.unwrap();
        found += page.events.len();
        query.from = page.next;
        if page.is_end {
            break;
        }
    }
    assert_eq!(found, appended.load(Ordering::Relaxed));
    drop(client);
    site.end().await;
}
