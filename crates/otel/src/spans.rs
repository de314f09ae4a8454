//! Spans on their way to the collector.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::queue::{Export, Queue};

/// Puts spans that have ended into the queue.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Queue<SpanData>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.offer(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Export<SpanData> for SpanExporter {
    async fn export(&mut self, batch: Vec<SpanData>) -> Result<(), String> {
        let exported = opentelemetry_sdk::trace::SpanExporter::export(self, batch).await;
        exported.map_err(|error| error.to_string())
    }
}
