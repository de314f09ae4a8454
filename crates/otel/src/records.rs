//! Log records on their way to the collector.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogProcessor, SdkLogRecord};

use crate::queue::{Export, Queue};

pub(crate) type Record = (SdkLogRecord, InstrumentationScope);

/// Those whose lines are not sent: what sends would tell of itself for ever.
const SILENT: [&str; 5] = [
    "ensue_otel",
    "opentelemetry",
    "hyper",
    "rustls",
    "tokio_rustls",
];

/// Whether lines of this target are sent.
pub(crate) fn is_sent(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or(target);
    !SILENT.iter().any(|silent| {
        root == *silent
            || root
                .strip_prefix(silent)
                .is_some_and(|rest| rest.starts_with('_'))
    })
}

/// Puts records into the queue.
#[derive(Debug)]
pub(crate) struct Emitted(pub(crate) Queue<Record>);

impl LogProcessor for Emitted {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.offer((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Export<Record> for LogExporter {
    async fn export(&mut self, batch: Vec<Record>) -> Result<(), String> {
        let records: Vec<_> = batch
            .iter()
            .map(|(record, scope)| (record, scope))
            .collect();
        let exported = opentelemetry_sdk::logs::LogExporter::export(self, LogBatch::new(&records));
        exported.await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sends_lines_is_not_among_them() {
        for target in [
            "hyper",
            "hyper::proto",
            "hyper_util::client",
            "opentelemetry_sdk",
            "ensue_otel::queue",
        ] {
            assert!(!is_sent(target), "{target}");
        }
        for target in ["ensue", "ensue::dispatch", "hyperdrive", "shop"] {
            assert!(is_sent(target), "{target}");
        }
    }
}
