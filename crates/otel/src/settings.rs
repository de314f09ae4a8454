//! Where telemetry goes, and how much of it: by the environment variables of OpenTelemetry.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::attributes::Conventions;
use crate::queue::Pace;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const OPT_IN: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";

/// The most that a variable may ask to keep waiting.
const QUEUE_MAX: usize = 1_000_000;

/// Where telemetry goes, and how much of it.
#[derive(Clone)]
#[must_use = "settings do nothing until telemetry is started with them"]
pub struct Settings {
    pub(crate) service: String,
    /// In place of the variables.
    pub(crate) endpoint: Option<String>,
    pub(crate) ratio: Option<f64>,
    pub(crate) conventions: Conventions,
    pub(crate) timeout: Duration,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) spans: Option<Pace>,
    pub(crate) records: Option<Pace>,
}

impl fmt::Debug for Settings {
    /// Without the endpoint, which may have credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// A variable that cannot be what it is.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {name} is `{value}`; expected {expected}")]
pub struct SettingsError {
    name: String,
    value: String,
    expected: &'static str,
}

/// The variables of the process, or of a test.
type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Settings {
    /// What the environment says: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_TIMEOUT` and
    /// `…_CERTIFICATE`, also those for traces and logs alone; `OTEL_SERVICE_NAME` (default: `service`),
    /// `OTEL_RESOURCE_ATTRIBUTES`; `OTEL_TRACES_SAMPLER` and `…_ARG`; `OTEL_TRACES_EXPORTER` and
    /// `OTEL_LOGS_EXPORTER` (`otlp` or `none`); `OTEL_BSP_…`, `OTEL_BLRP_…` (how much waits);
    /// `OTEL_SEMCONV_STABILITY_OPT_IN` (`messaging`); `OTEL_SDK_DISABLED`.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable that cannot be what it is.
    pub fn from_env(service: &str) -> Result<Self, SettingsError> {
        Self::of(service, &|name| env::var(name).ok())
    }

    /// Whether the environment says where telemetry goes: that there is a collector on this machine is
    /// not taken for granted.
    pub fn is_asked_for() -> bool {
        is_asked_for(&|name| env::var(name).ok())
    }

    fn of(service: &str, variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let given = |name: &str| variables(name).filter(|value| !value.is_empty());
        for name in [
            PROTOCOL,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        ] {
            match given(name) {
                Some(value) if value != "http/protobuf" => {
                    let expected = "`http/protobuf`, the only one that is built in";
                    return Err(wrong(name, value, expected));
                }
                _ => {}
            }
        }
        let is_off = given("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let pace = |exporter: &str, prefix: &str, delay_ms| -> Result<_, SettingsError> {
            let exporter = signal(exporter, &given)?;
            let is_on = exporter.unwrap_or(true) && !is_off;
            let pace = Pace {
                queue_max: number(&given, &format!("{prefix}_MAX_QUEUE_SIZE"), 2_048)?,
                batch_max: number(&given, &format!("{prefix}_MAX_EXPORT_BATCH_SIZE"), 512)?,
                delay: millis(&given, &format!("{prefix}_SCHEDULE_DELAY"), delay_ms)?,
            };
            Ok(is_on.then_some(pace))
        };
        let messaging = given(OPT_IN).unwrap_or_default();
        let mut messaging = messaging.split(',').map(str::trim);
        Ok(Self {
            service: service.to_owned(),
            endpoint: None,
            ratio: None,
            conventions: Conventions {
                messaging: messaging.any(|it| it == "messaging" || it == "messaging/dup"),
            },
            timeout: millis(&given, TIMEOUT, 10_000)?,
            certificate: given(CERTIFICATE).map(PathBuf::from),
            spans: pace("OTEL_TRACES_EXPORTER", "OTEL_BSP", 5_000)?,
            records: pace("OTEL_LOGS_EXPORTER", "OTEL_BLRP", 1_000)?,
        })
    }

    /// Sends to the collector at this URL, such as `http://localhost:4318`, whatever the environment says.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Samples this share of the traces that begin here, from 0 to 1; others as they were begun.
    pub fn sample(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self
    }

    /// Whether spans have the attributes of OpenTelemetry's messaging conventions, too.
    pub fn messaging_conventions(mut self, are_added: bool) -> Self {
        self.conventions.messaging = are_added;
        self
    }
}

fn is_asked_for(variables: &Variables<'_>) -> bool {
    let is =
        |name: &str, wanted: &dyn Fn(&str) -> bool| variables(name).is_some_and(|it| wanted(&it));
    let is_given = |it: &str| !it.is_empty();
    let is_on = |it: &str| it == "otlp";
    !is("OTEL_SDK_DISABLED", &|it| it.eq_ignore_ascii_case("true"))
        && (is(ENDPOINT, &is_given)
            || is("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &is_given)
            || is("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &is_given)
            || is("OTEL_TRACES_EXPORTER", &is_on)
            || is("OTEL_LOGS_EXPORTER", &is_on))
}

/// Whether a signal is on, if it is said.
fn signal(name: &str, given: &Variables<'_>) -> Result<Option<bool>, SettingsError> {
    match given(name) {
        None => Ok(None),
        Some(value) if value == "otlp" => Ok(Some(true)),
        Some(value) if value == "none" => Ok(Some(false)),
        Some(value) => Err(wrong(name, value, "`otlp` or `none`")),
    }
}

fn number(given: &Variables<'_>, name: &str, default: usize) -> Result<usize, SettingsError> {
    let Some(value) = given(name) else {
        return Ok(default);
    };
    match value.parse() {
        Ok(number) if (1..=QUEUE_MAX).contains(&number) => Ok(number),
        _ => Err(wrong(name, value, "a number from 1 to 1000000")),
    }
}

fn millis(given: &Variables<'_>, name: &str, default: u64) -> Result<Duration, SettingsError> {
    let Some(value) = given(name) else {
        return Ok(Duration::from_millis(default));
    };
    match value.parse() {
        Ok(millis) if millis <= 3_600_000 => Ok(Duration::from_millis(millis)),
        _ => Err(wrong(name, value, "milliseconds, at most 3600000")),
    }
}

fn wrong(name: &str, value: String, expected: &'static str) -> SettingsError {
    SettingsError {
        name: name.to_owned(),
        value,
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::of("shop", &find).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_say_how_much_waits_and_which_conventions_hold() {
        let plain = of(&[]).unwrap();
        assert!(!plain.conventions.messaging);
        assert_eq!(plain.spans.unwrap().queue_max, 2_048);
        let set = of(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_SEMCONV_STABILITY_OPT_IN", "http, messaging"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ]);
        let set = set.unwrap();
        assert_eq!(set.spans.unwrap().queue_max, 7);
        assert!(set.records.is_none());
        assert!(set.conventions.messaging);
        assert_eq!(set.timeout, Duration::from_millis(1_500));
        let off = of(&[("OTEL_SDK_DISABLED", "true")]).unwrap();
        assert!(off.spans.is_none() && off.records.is_none());
    }

    #[test]
    fn a_variable_that_cannot_be_what_it_is_is_named_with_what_is_expected() {
        for (name, value, part) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp` or `none`"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a number from 1"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "soon", "milliseconds"),
        ] {
            let error = of(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn telemetry_is_asked_for_by_an_endpoint_or_an_exporter() {
        let asks = |name: &'static str, value: &'static str| {
            is_asked_for(&move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(asks("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"));
        assert!(asks("OTEL_TRACES_EXPORTER", "otlp"));
        assert!(!asks("OTEL_TRACES_EXPORTER", "none"));
        assert!(!asks("OTEL_SERVICE_NAME", "shop"));
    }

    #[test]
    fn settings_printed_for_logs_do_not_show_the_endpoint() {
        let settings = of(&[]).unwrap().endpoint("http://user:secret@collector");
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
