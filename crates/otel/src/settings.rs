//! Where telemetry goes, and how much of it: by the environment variables of OpenTelemetry.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::attributes::Conventions;
use crate::queue::Pace;

/// What the variables of the exporter begin with, and what those of one signal go on with.
const EXPORTER: &str = "OTEL_EXPORTER_OTLP_";
const OF_TRACES: &str = "TRACES_";
const OF_LOGS: &str = "LOGS_";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const OPT_IN: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";

/// The most that a variable may ask to keep waiting.
const QUEUE_MAX: usize = 1_000_000;
/// The longest time that a variable may ask for, in milliseconds.
const MILLIS_MAX: u64 = 3_600_000;

/// Where telemetry goes, and how much of it.
#[derive(Clone)]
#[must_use = "settings do nothing until telemetry is started with them"]
pub struct Settings {
    pub(crate) service: String,
    /// In place of the variables.
    pub(crate) endpoint: Option<String>,
    pub(crate) ratio: Option<f64>,
    pub(crate) conventions: Conventions,
    pub(crate) spans: Option<Sending>,
    pub(crate) records: Option<Sending>,
}

/// How one of the signals is sent.
#[derive(Clone)]
pub(crate) struct Sending {
    pub(crate) pace: Pace,
    pub(crate) timeout: Duration,
    /// The authorities that the collector is trusted by, unless they are those of the system.
    pub(crate) certificate: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    /// Without the endpoint, which may have credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Sending {
    /// What is said of this signal, or of both.
    fn of(
        given: &Variables<'_>,
        signal: &str,
        prefix: &str,
        delay_ms: u64,
    ) -> Result<Self, SettingsError> {
        let name = |what: &str| {
            let own = format!("{EXPORTER}{signal}{what}");
            if given(&own).is_some() {
                return own;
            }
            format!("{EXPORTER}{what}")
        };
        Ok(Self {
            pace: Pace {
                queue_max: number(given, &format!("{prefix}_MAX_QUEUE_SIZE"), 2_048)?,
                batch_max: number(given, &format!("{prefix}_MAX_EXPORT_BATCH_SIZE"), 512)?,
                delay: millis(given, &format!("{prefix}_SCHEDULE_DELAY"), 0, delay_ms)?,
            },
            timeout: millis(given, &name("TIMEOUT"), 1, 10_000)?,
            certificate: given(&name("CERTIFICATE")).map(PathBuf::from),
        })
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
    /// What the environment says: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_TIMEOUT` (milliseconds, up to
    /// an hour) and `…_CERTIFICATE`, also those for traces and logs alone; `OTEL_SERVICE_NAME` (default:
    /// `service`), `OTEL_RESOURCE_ATTRIBUTES`; `OTEL_TRACES_SAMPLER` and `…_ARG`; `OTEL_TRACES_EXPORTER` and
    /// `OTEL_LOGS_EXPORTER` (`otlp` or `none`); `…_MAX_QUEUE_SIZE`, `…_MAX_EXPORT_BATCH_SIZE` and
    /// `…_SCHEDULE_DELAY` of `OTEL_BSP` and `OTEL_BLRP`; `OTEL_SEMCONV_STABILITY_OPT_IN` (`messaging`);
    /// `OTEL_SDK_DISABLED`. A login in an endpoint and certificates of clients are refused.
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
        check_exporter(&given)?;
        check_sampler(&given)?;
        let is_off = given("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let sending = |of, exporter, prefix, delay_ms| {
            let is_on = is_on(exporter, &given)?.unwrap_or(true) && !is_off;
            let sending = Sending::of(&given, of, prefix, delay_ms)?;
            Ok(is_on.then_some(sending))
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
            spans: sending(OF_TRACES, "OTEL_TRACES_EXPORTER", "OTEL_BSP", 5_000)?,
            records: sending(OF_LOGS, "OTEL_LOGS_EXPORTER", "OTEL_BLRP", 1_000)?,
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
        && (is("OTEL_EXPORTER_OTLP_ENDPOINT", &is_given)
            || is("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &is_given)
            || is("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &is_given)
            || is("OTEL_TRACES_EXPORTER", &is_on)
            || is("OTEL_LOGS_EXPORTER", &is_on))
}

/// Checks what is said to the exporter, whether of one signal or of all.
fn check_exporter(given: &Variables<'_>) -> Result<(), SettingsError> {
    for of in ["", OF_TRACES, OF_LOGS] {
        let said = |what: &str| {
            let name = format!("{EXPORTER}{of}{what}");
            given(&name).map(|value| (name, value))
        };
        if let Some((name, value)) = said("PROTOCOL").filter(|(_, it)| it != "http/protobuf") {
            let expected = "`http/protobuf`, the only one that is built in";
            return Err(wrong(&name, value, expected));
        }
        if let Some((name, value)) = said("ENDPOINT")
            && let Some(shown) = without_login(&value)
        {
            let expected = "a URL without a login, which belongs into OTEL_EXPORTER_OTLP_HEADERS";
            return Err(wrong(&name, shown, expected));
        }
        for what in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            if let Some((name, value)) = said(what) {
                let expected = "nothing: the collector is shown no certificate";
                return Err(wrong(&name, value, expected));
            }
        }
    }
    Ok(())
}

/// A URL that has a login, without it.
pub(crate) fn without_login(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (_, host) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://…@{host}{path}"))
}

/// Checks what the SDK would take for `parentbased_always_on`, with no more than a warning.
fn check_sampler(given: &Variables<'_>) -> Result<(), SettingsError> {
    let takes_ratio = match given(SAMPLER).as_deref() {
        Some("traceidratio" | "parentbased_traceidratio") => true,
        None
        | Some("always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off") => {
            false
        }
        Some(value) => {
            let expected =
                "`always_on`, `always_off` or `traceidratio`, or one of them after `parentbased_`";
            return Err(wrong(SAMPLER, value.to_owned(), expected));
        }
    };
    let Some(ratio) = given(SAMPLER_ARG).filter(|_| takes_ratio) else {
        return Ok(());
    };
    match ratio.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(()),
        _ => Err(wrong(
            SAMPLER_ARG,
            ratio,
            "a share from 0 to 1, such as 0.1",
        )),
    }
}

/// Whether a signal is on, if it is said.
fn is_on(name: &str, given: &Variables<'_>) -> Result<Option<bool>, SettingsError> {
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

fn millis(
    given: &Variables<'_>,
    name: &str,
    min: u64,
    default: u64,
) -> Result<Duration, SettingsError> {
    let Some(value) = given(name) else {
        return Ok(Duration::from_millis(default));
    };
    match value.parse() {
        Ok(millis) if (min..=MILLIS_MAX).contains(&millis) => Ok(Duration::from_millis(millis)),
        _ if min == 0 => Err(wrong(name, value, "milliseconds, at most 3600000")),
        _ => Err(wrong(name, value, "milliseconds, from 1 to 3600000")),
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
        assert_eq!(plain.spans.unwrap().pace.queue_max, 2_048);
        let set = of(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_SEMCONV_STABILITY_OPT_IN", "http, messaging"),
        ]);
        let set = set.unwrap();
        assert_eq!(set.spans.unwrap().pace.queue_max, 7);
        assert!(set.records.is_none());
        assert!(set.conventions.messaging);
        let off = of(&[("OTEL_SDK_DISABLED", "true")]).unwrap();
        assert!(off.spans.is_none() && off.records.is_none());
    }

    #[test]
    fn what_is_said_of_one_signal_comes_before_what_is_said_of_both() {
        let set = of(&[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "both.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "20"),
            ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "logs.pem"),
        ]);
        let set = set.unwrap();
        let (spans, records) = (set.spans.unwrap(), set.records.unwrap());
        assert_eq!(spans.timeout, Duration::from_millis(20));
        assert_eq!(records.timeout, Duration::from_millis(1_500));
        assert_eq!(spans.certificate.unwrap().as_os_str(), "both.pem");
        assert_eq!(records.certificate.unwrap().as_os_str(), "logs.pem");
    }

    #[test]
    fn a_sampler_is_one_that_there_is() {
        for sampler in [
            "always_off",
            "parentbased_always_on",
            "parentbased_traceidratio",
        ] {
            let said = [
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ];
            assert!(of(&said).is_ok(), "{sampler}");
        }
        let of_ratio = |ratio| {
            let said = [
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", ratio),
            ];
            of(&said).map(|_| ())
        };
        assert_eq!(of_ratio("0"), Ok(()));
        for ratio in ["10%", "1.5", "-1", "NaN"] {
            let error = of_ratio(ratio).unwrap_err();
            assert!(error.contains("OTEL_TRACES_SAMPLER_ARG"), "{error}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_what_it_is_is_named_with_what_is_expected() {
        for (name, value, part) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp` or `none`"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a number from 1"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "soon", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "from 1 to"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s", "from 1 to"),
            ("OTEL_TRACES_SAMPLER", "ratio", "`traceidratio`"),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://me:hidden@c:4318/a@b",
                "…@c:4318/a@b",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://hidden@c",
                "_HEADERS",
            ),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "a.key", "no certificate"),
        ] {
            let error = of(&[(name, value)]).unwrap_err();
            assert!(!error.contains("hidden"), "{error}");
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
