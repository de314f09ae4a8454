//! `GET /metrics`: counters and gauges for Prometheus.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header;
use ensue::PrometheusText;
use ensue::engine::{EngineStatus, GroupStatus};

use super::deadline;
use super::route::{Routes, SERVER, get};
use crate::context::Context;
use crate::openapi::{Answer, Operation, Written, about};
use crate::problem::Problem;
use crate::process;
use crate::security::{Access, Action};

pub(super) fn routes(routes: Routes) -> Routes {
    // Every group is a label of it.
    let about = about("getMetrics", "Counters and gauges for Prometheus");
    routes.tag(SERVER).add(
        "/metrics",
        [get(Access::May(Action::Admin), about, metrics)],
    )
}

struct Exposition;

impl Answer for Exposition {
    fn describe(operation: &mut Operation) {
        let text = operation.written::<String>();
        operation
            .answers(
                200,
                "Counters and gauges, in the text format of Prometheus.",
            )
            .content("text/plain", text);
    }
}

async fn metrics(State(context): State<Context>) -> Result<Written<Exposition>, Problem> {
    let status = deadline::within(&context, context.engine().status()).await?;
    let mut text = PrometheusText::default();
    write_build(&mut text);
    process::write(&mut text);
    write_engine(&mut text, &status);
    write_groups(&mut text, &status.groups);
    context.counters().write(&mut text);
    for (name, help, budget) in [
        (
            "ensue_http_bodies_bytes",
            "Bytes that the bodies of requests under way hold.",
            context.bodies(),
        ),
        (
            "ensue_http_answers_bytes",
            "Bytes of events on their way to clients.",
            context.answers(),
        ),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], budget.in_use());
    }
    text.family("ensue_http_streams", "gauge", "Streams of events.");
    text.sample("ensue_http_streams", &[], context.streams());
    write_webhooks(&mut text, &context);
    write_issuers(&mut text, &context);
    write_members(&mut text, &context);
    context.tracing().write_metrics(&mut text);
    let services = context.services().to_prometheus();
    let content_type = [(header::CONTENT_TYPE, PrometheusText::CONTENT_TYPE)];
    Ok(Written::new((content_type, text.finish() + &services)))
}

/// The version is a label, so that a graph shows when it changes.
fn write_build(text: &mut PrometheusText) {
    let name = "ensue_build_info";
    text.family(name, "gauge", "1; the version is a label.");
    text.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
}

fn write_members(text: &mut PrometheusText, context: &Context) {
    let (held, bytes) = context.leases().held();
    for (name, help, value) in [
        (
            "ensue_http_members",
            "Clients that are members of groups.",
            context.leases().members(),
        ),
        (
            "ensue_http_deliveries",
            "Events that they hold and have not committed.",
            held,
        ),
        (
            "ensue_http_deliveries_bytes",
            "Bytes of these events.",
            bytes,
        ),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
}

fn write_engine(text: &mut PrometheusText, status: &EngineStatus) {
    let mut gauge = |name: &str, help: &str, value: u64| {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    };
    let is_up = u64::from(status.trouble.is_none());
    gauge("ensue_up", "Whether the engine works.", is_up);
    gauge(
        "ensue_log_first_position",
        "The oldest position that is kept.",
        status.first.position().get(),
    );
    gauge(
        "ensue_log_end_position",
        "The position after the newest event.",
        status.end.position().get(),
    );
    if let Some(bytes) = status.bytes {
        gauge("ensue_log_bytes", "Bytes of the log on disk.", bytes);
    }
    gauge(
        "ensue_scheduled_events",
        "Events that wait for their time.",
        status.scheduled as u64,
    );
    gauge(
        "ensue_topics",
        "Topics that hold events.",
        status.topics.len() as u64,
    );
}

fn write_groups(text: &mut PrometheusText, groups: &[GroupStatus]) {
    type Gauge = (&'static str, &'static str, fn(&GroupStatus) -> u64);
    let gauges: [Gauge; 11] = [
        (
            "position",
            "Before it, everything is settled, parked or dead.",
            |it| it.position.position().get(),
        ),
        (
            "lag",
            "Events that the group could take up now and has not.",
            |it| it.lag,
        ),
        ("in_flight", "Events that the group's members hold.", |it| {
            it.in_flight as u64
        }),
        ("retrying", "Events that wait for another attempt.", |it| {
            it.retrying as u64
        }),
        ("parked", "Events that wait behind a blocked key.", |it| {
            it.parked as u64
        }),
        ("dead_letters", "Dead letters.", |it| it.dead as u64),
        (
            "blocked_keys",
            "Keys whose later events wait behind a retry or a dead letter.",
            |it| it.blocked as u64,
        ),
        ("members", "Members.", |it| it.members.len() as u64),
        (
            "paused",
            "Whether the group takes no further events.",
            |it| u64::from(it.paused.is_some()),
        ),
        (
            "trouble",
            "Whether keys of the group are stopped for another reason than their own failures.",
            |it| u64::from(it.trouble.is_some()),
        ),
        (
            "refused",
            "Whether what the group's members did cannot be committed at present.",
            |it| u64::from(it.refused.is_some()),
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("ensue_group_{name}");
        text.family(&name, "gauge", help);
        for group in groups {
            text.sample(&name, &[("group", &group.name)], value(group));
        }
    }
}

fn write_webhooks(text: &mut PrometheusText, context: &Context) {
    let name = "ensue_webhook_callable";
    let help =
        "Whether the endpoint may be called: not disabled, paused or behind an open circuit.";
    text.family(name, "gauge", help);
    for endpoint in context.webhooks().endpoints() {
        let is_active = endpoint.state().name == "active";
        text.sample(
            name,
            &[("endpoint", &endpoint.config().name)],
            u8::from(is_active),
        );
    }
}

fn write_issuers(text: &mut PrometheusText, context: &Context) {
    // One that is found in several ways is one: keys that are not there count first.
    let mut issuers = BTreeMap::<String, (usize, bool)>::new();
    for issuer in context.security().providers() {
        let found = (issuer.keys.unwrap_or(0), issuer.problem.is_some());
        let known = issuers.entry(issuer.issuer).or_insert(found);
        *known = (known.0.min(found.0), known.1 || found.1);
    }
    let name = "ensue_issuer_keys";
    let help = "Keys of the issuer that are known; without any, nobody is let in by it.";
    text.family(name, "gauge", help);
    for (issuer, (keys, _)) in &issuers {
        text.sample(name, &[("issuer", issuer)], keys);
    }
    let name = "ensue_issuer_away";
    let help = "Whether the last attempt to fetch the issuer's keys failed.";
    text.family(name, "gauge", help);
    for (issuer, (_, is_away)) in &issuers {
        text.sample(name, &[("issuer", issuer)], u8::from(*is_away));
    }
}
