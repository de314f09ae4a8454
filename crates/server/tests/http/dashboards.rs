//! What Prometheus is told, and whether the dashboards and alerts of `deploy` ask for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::endpoint::{SECRET, Secrets};
use crate::member::MemberClient;
use crate::receiver::Receiver;
use crate::site::{Site, event};

/// A site with all that metrics are about: a group, a member, a webhook.
async fn site() -> (Site, MemberClient, Receiver, Secrets) {
    let receiver = Receiver::start().await;
    let secrets = Secrets::new(SECRET);
    let site = Site::with(secrets.config(&receiver.url(), "")).await;
    let mut member = MemberClient::join(&site, "payments", json!({})).await;
    let order = event("1", r#","topic":"orders""#);
    member.client.event("/v1/events", order).await.ok();
    let taken = member.take("wait=60s").await;
    let effects = json!({"effects": [{"event": {"type": "order.paid", "topic": "paid"}}]});
    member.settle(&taken[0], effects).await.ok();
    (site, member, receiver, secrets)
}

/// What is said of each family: its type, and whether there is a text.
fn families(text: &str) -> BTreeMap<String, (String, bool)> {
    let mut families = BTreeMap::<String, (String, bool)>::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                families.entry(name.to_owned()).or_default().0 = kind.to_owned();
            }
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                families.entry(name.to_owned()).or_default().1 = !help.is_empty();
            }
            _ => {}
        }
    }
    families
}

/// The family of a sample: histograms have three names.
fn family(sample: &str) -> &str {
    let endings = ["_bucket", "_sum", "_count"].iter();
    endings
        .filter_map(|ending| sample.strip_suffix(ending))
        .next()
        .unwrap_or(sample)
}

fn deploy(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    root.join(path)
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_name(c));
    let is_metric = |word: &&str| word.starts_with("ensue_") || word.starts_with("process_");
    words.filter(is_metric).collect()
}

#[tokio::test]
async fn every_family_has_a_type_and_a_text_and_a_name_by_the_conventions() {
    let (site, _member, _receiver, _secrets) = site().await;
    let answer = site.client().await.get("/metrics").await;
    let families = families(answer.text());
    for line in answer.text().lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let known = families.get(name).or_else(|| families.get(family(name)));
        assert!(known.is_some(), "{line}");
    }
    for (name, (kind, has_help)) in families {
        assert!(has_help, "{name} has no text");
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name} is a {kind}"
        );
        let units = ["_ms", "_us", "_kb", "_milliseconds", "_minutes"];
        assert!(units.iter().all(|unit| !name.ends_with(unit)), "{name}");
    }
    site.end().await;
}

#[tokio::test]
async fn dashboards_and_alerts_ask_for_metrics_that_there_are() {
    let (site, _member, _receiver, _secrets) = site().await;
    let answer = site.client().await.get("/metrics").await;
    let families = families(answer.text());
    for path in [
        "prometheus/alerts.yml",
        "prometheus/alerts_test.yml",
        "prometheus/consoles/ensue.html",
        "grafana/ensue.json",
    ] {
        let text = std::fs::read_to_string(deploy(path)).unwrap();
        let names = named(&text);
        assert!(names.len() >= 3, "{path}");
        for name in names {
            let is_there = families.contains_key(name) || families.contains_key(family(name));
            assert!(is_there, "{path} asks for {name}");
        }
    }
    site.end().await;
}

#[tokio::test]
async fn what_clients_handle_counts_for_their_group() {
    let (site, _member, _receiver, _secrets) = site().await;
    let answer = site.client().await.get("/metrics").await;
    for line in [
        "ensue_delivered_total{group=\"payments\"} 1",
        "ensue_handled_total{group=\"payments\"} 1",
        "ensue_published_total{group=\"payments\"} 1",
        "ensue_group_lag{group=\"payments\"} 0",
    ] {
        let is_there = answer.text().lines().any(|it| it == line);
        assert!(is_there, "{line} in\n{}", answer.text());
    }
    site.end().await;
}

#[tokio::test]
async fn how_long_clients_wait_for_deliveries_is_not_how_long_answers_take() {
    let (site, _member, _receiver, _secrets) = site().await;
    let answer = site.client().await.get("/metrics").await;
    let sum = |name: &str| {
        let samples = answer.text().lines().filter(|line| line.starts_with(name));
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum::<u64>()
    };
    let takes = "ensue_http_requests_total{route=\"/v1/groups/{group}/members/{member}/take\"";
    assert_eq!(sum(takes), 1);
    let all = sum("ensue_http_requests_total");
    let measured = sum("ensue_http_request_duration_seconds_count");
    assert_eq!(all - measured, 1, "{}", answer.text());
    site.end().await;
}
