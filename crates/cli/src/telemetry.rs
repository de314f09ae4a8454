//! Telemetry of a command that serves: by the feature `otel`, where the environment says where to.

#[cfg(feature = "otel")]
use ensue_otel::Settings;
use ensue_server::Server;
use tracing_subscriber::{Layer, Registry};

use crate::failure::Failure;

/// What records and sends telemetry, if something does.
pub(crate) struct Telemetry {
    #[cfg(feature = "otel")]
    started: Option<ensue_otel::Telemetry>,
}

impl Telemetry {
    /// No telemetry.
    pub(crate) fn none() -> Self {
        Self {
            #[cfg(feature = "otel")]
            started: None,
        }
    }

    /// What the environment asks for.
    #[cfg(feature = "otel")]
    pub(crate) fn of_env() -> Result<Self, Failure> {
        if !Settings::is_asked_for() {
            return Ok(Self::none());
        }
        let refused = |error: String| {
            let advice = "correct the variable, or set OTEL_SDK_DISABLED=true to do without";
            Failure::new("telemetry", error, advice)
        };
        let settings = Settings::from_env("ensue").map_err(|error| refused(error.to_string()))?;
        let started = ensue_otel::Telemetry::start(settings);
        let started = started.map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            started: Some(started),
        })
    }

    /// Nothing without the feature.
    #[cfg(not(feature = "otel"))]
    pub(crate) fn of_env() -> Result<Self, Failure> {
        Ok(Self::none())
    }

    /// What sends log lines.
    pub(crate) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        #[cfg(feature = "otel")]
        if let Some(started) = &self.started {
            return Some(started.logs().boxed());
        }
        None
    }

    /// A server that records spans.
    pub(crate) fn serve(&self, server: Server) -> Server {
        #[cfg(feature = "otel")]
        if let Some(started) = &self.started {
            return server.telemetry(started.clone());
        }
        server
    }

    /// Sends what is left.
    pub(crate) async fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(started) = &self.started {
            started.shutdown().await;
        }
    }
}
