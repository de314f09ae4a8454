//! What records spans, and what they say.

use opentelemetry_sdk::trace::SdkTracer;

use crate::attributes::Conventions;

/// Records spans. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    /// None if spans are not sent at all.
    tracer: Option<SdkTracer>,
    conventions: Conventions,
}

impl Recorder {
    pub(crate) fn new(tracer: Option<SdkTracer>, conventions: Conventions) -> Self {
        Self {
            tracer,
            conventions,
        }
    }

    /// What makes spans, if they are sent at all.
    pub(crate) fn spans(&self) -> Option<&SdkTracer> {
        self.tracer.as_ref()
    }

    pub(crate) fn conventions(&self) -> Conventions {
        self.conventions
    }
}
