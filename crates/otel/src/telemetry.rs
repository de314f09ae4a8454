//! What records and sends telemetry, and how it begins and ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ensue::{EventTracer, PrometheusText, TraceContext};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogExporter as _, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter as _};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

use crate::client::Client;
use crate::handlers::Handlers;
use crate::metrics::{self, Signal};
use crate::publishing::Publishing;
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::records::{Emitted, Record, is_sent};
use crate::request::{CallSpan, RequestSpan};
use crate::settings::{Sending, Settings, without_login};
use crate::spans::Ended;

/// How long the end waits for what is left to be sent.
const FLUSH: Duration = Duration::from_secs(5);
/// The name of what records spans.
const SCOPE: &str = "ensue";

/// Records and sends telemetry. Cloning gives the same.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    recorder: Recorder,
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    spans: Option<Queue<SpanData>>,
    records: Option<Queue<Record>>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// Why telemetry does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The endpoint, or another setting of what sends.
    #[error("telemetry cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// There is a login in the URL of the collector.
    #[error(
        "telemetry cannot be sent to `{url}`: the login is not sent; leave it out, and put what the collector \
         asks for into the variable OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Login {
        /// The URL, without the login.
        url: String,
    },
    /// The certificates of the authorities.
    #[error("telemetry cannot be sent over TLS: {0}")]
    Tls(String),
    /// There can be no thread for it.
    #[error("telemetry cannot be sent: {0}")]
    Threads(#[from] ensue::Error),
}

impl Telemetry {
    /// Begins. A collector that is away is no error: what it does not take is dropped and counted.
    ///
    /// # Errors
    /// [`TelemetryError`] when nothing can ever be sent with these settings.
    pub fn start(settings: Settings) -> Result<Self, TelemetryError> {
        if let Some(url) = settings.endpoint.as_deref().and_then(without_login) {
            return Err(TelemetryError::Login { url });
        }
        let resource = resource(&settings.service);
        let mut traces = SdkTracerProvider::builder().with_resource(resource.clone());
        if let Some(ratio) = settings.ratio {
            let sampler = Sampler::TraceIdRatioBased(ratio);
            traces = traces.with_sampler(Sampler::ParentBased(Box::new(sampler)));
        }
        let mut logs = SdkLoggerProvider::builder().with_resource(resource.clone());
        let (mut spans, mut records) = (None, None);
        if let Some(signal) = &settings.spans {
            let mut exporter = span_exporter(signal, settings.endpoint.as_deref())?;
            exporter.set_resource(&resource);
            let queue = Queue::start(signal.pace, "traces", exporter)?;
            traces = traces.with_span_processor(Ended(queue.clone()));
            spans = Some(queue);
        }
        if let Some(signal) = &settings.records {
            let mut exporter = log_exporter(signal, settings.endpoint.as_deref())?;
            exporter.set_resource(&resource);
            let queue = Queue::start(signal.pace, "logs", exporter)?;
            logs = logs.with_log_processor(Emitted(queue.clone()));
            records = Some(queue);
        }
        let traces = traces.build();
        let tracer = spans.is_some().then(|| traces.tracer(SCOPE));
        Ok(Self(Arc::new(Inner {
            recorder: Recorder::new(tracer, settings.conventions),
            traces,
            logs: logs.build(),
            spans,
            records,
        })))
    }

    /// The layer for an app that records a span for every attempt of its handlers.
    pub fn handlers(&self) -> Handlers {
        Handlers::new(self.0.recorder.clone())
    }

    /// What makes a span for each event that a [`Publisher`](ensue::Publisher) appends, a child of the span
    /// that is active: [`Publisher::traced`](ensue::Publisher::traced).
    pub fn tracer(&self) -> Arc<dyn EventTracer> {
        Arc::new(Publishing::of_program(self.0.recorder.clone()))
    }

    /// What makes a span for each event that a handler elsewhere returns, a child of what it follows from:
    /// for a [`Consumer`](ensue::consumer::Consumer).
    pub fn clients(&self) -> Arc<dyn EventTracer> {
        Arc::new(Publishing::of_clients(self.0.recorder.clone()))
    }

    /// The layer for a subscriber that sends log lines, with the ids of the span in which they are written.
    pub fn logs<S>(&self) -> impl Layer<S> + Send + Sync + 'static + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let bridge: OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger> =
            OpenTelemetryTracingBridge::new(&self.0.logs);
        bridge.with_filter(FilterFn::new(|line: &tracing::Metadata<'_>| {
            is_sent(line.target())
        }))
    }

    /// Writes what became of telemetry: sent, dropped, waiting.
    pub fn write_metrics(&self, text: &mut PrometheusText) {
        let spans = self.0.spans.as_ref();
        let records = self.0.records.as_ref();
        let signals = spans.map(|queue| Signal::of("traces", queue)).into_iter();
        let signals = signals.chain(records.map(|queue| Signal::of("logs", queue)));
        metrics::write(text, &signals.collect::<Vec<_>>());
    }

    /// Sends what waits.
    pub async fn flush(&self) {
        if let Some(spans) = &self.0.spans {
            spans.flush().await;
        }
        if let Some(records) = &self.0.records {
            records.flush().await;
        }
    }

    /// Ends: sends what waits, for some seconds at the most. Nothing is recorded any more.
    pub async fn shutdown(&self) {
        if tokio::time::timeout(FLUSH, self.flush()).await.is_err() {
            tracing::warn!("the collector did not take the last telemetry in time; it is lost");
        }
        // Of what has no processors that wait there is nothing to report.
        let _ = self.0.traces.shutdown();
        let _ = self.0.logs.shutdown();
    }

    /// Begins the span of a request that a server answers: in the trace of its `traceparent`, or in a new
    /// one. Nothing if spans are not sent.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        parent: Option<(TraceContext, Option<&str>)>,
    ) -> Option<RequestSpan> {
        RequestSpan::begin(&self.0.recorder, (method, path), parent)
    }

    /// Begins the span of a request that a server sends: a child of what is given. Nothing if spans are not
    /// sent.
    pub fn call(
        &self,
        parent: Option<TraceContext>,
        method: &'static str,
        host: &str,
        port: u16,
    ) -> Option<CallSpan> {
        CallSpan::begin(&self.0.recorder, parent, method, (host, port))
    }
}

/// What is recorded of. The environment's name for it comes first.
fn resource(service: &str) -> Resource {
    let from_env = Resource::builder().build();
    let named = from_env.get(&"service.name".into());
    let is_named = named.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named {
        return from_env;
    }
    Resource::builder()
        .with_service_name(service.to_owned())
        .build()
}

fn client(sending: &Sending) -> Result<Arc<dyn HttpClient>, TelemetryError> {
    let client = Client::new(sending.timeout, sending.certificate.as_deref());
    Ok(Arc::new(client.map_err(TelemetryError::Tls)?))
}

fn span_exporter(
    sending: &Sending,
    endpoint: Option<&str>,
) -> Result<SpanExporter, TelemetryError> {
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_shared_http_client(client(sending)?)
        .with_timeout(sending.timeout);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
    }
    Ok(builder.build()?)
}

fn log_exporter(sending: &Sending, endpoint: Option<&str>) -> Result<LogExporter, TelemetryError> {
    let mut builder = LogExporter::builder()
        .with_http()
        .with_shared_http_client(client(sending)?)
        .with_timeout(sending.timeout);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(format!("{}/v1/logs", endpoint.trim_end_matches('/')));
    }
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_the_endpoint_is_refused_and_not_repeated() {
        let settings = Settings::from_env("shop").unwrap();
        let settings = settings.endpoint("http://me:hidden@collector:4318");
        let error = Telemetry::start(settings).unwrap_err().to_string();
        assert!(
            error.contains("…@collector") && !error.contains("hidden"),
            "{error}"
        );
    }

    #[test]
    fn each_signal_trusts_its_own_authorities() {
        for is_logs in [false, true] {
            let mut settings = Settings::from_env("shop").unwrap();
            let signals = [&mut settings.spans, &mut settings.records];
            let signal = signals.into_iter().nth(usize::from(is_logs)).unwrap();
            signal.as_mut().unwrap().certificate = Some("/not/there.pem".into());
            let error = Telemetry::start(settings).unwrap_err().to_string();
            assert!(error.contains("/not/there.pem"), "{error}");
        }
    }
}
