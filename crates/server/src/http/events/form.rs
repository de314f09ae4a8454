//! In which of the modes of CloudEvents the events of a request are.

use axum::http::{HeaderMap, header};
use ensue::{CloudEvent, CloudEventBatch};

use crate::problem::{Code, Problem};

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One event in the JSON format.
    Structured,
    /// An array of them.
    Batch,
    /// Attributes in headers, the payload as the body.
    Binary,
}

impl Form {
    /// The form of a request with these headers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = content_type(headers)?.unwrap_or_default();
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let form = match media.as_str() {
            CloudEvent::CONTENT_TYPE => Self::Structured,
            CloudEventBatch::CONTENT_TYPE => Self::Batch,
            _ if media.starts_with("application/cloudevents") => {
                return Err(unsupported(format!(
                    "`{media}` is a format of CloudEvents that the server does not read; send {} or {}",
                    CloudEvent::CONTENT_TYPE,
                    CloudEventBatch::CONTENT_TYPE
                )));
            }
            _ if headers.contains_key("ce-specversion") => return Ok(Self::Binary),
            _ => return Err(not_an_event(text)),
        };
        let is_foreign = |part: &str| match part.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => !charset
                .trim()
                .trim_matches('"')
                .eq_ignore_ascii_case("utf-8"),
            _ => false,
        };
        if parts.any(is_foreign) {
            return Err(unsupported("JSON is UTF-8 and nothing else".to_owned()));
        }
        Ok(form)
    }
}

/// What the headers say of the body.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.map(|value| value.to_str()).transpose();
    text.map_err(|_| Problem::new(Code::InvalidHeader, "the header `content-type` is not text"))
}

fn unsupported(detail: String) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

fn not_an_event(content_type: &str) -> Problem {
    let shown: String = content_type.chars().take(80).collect();
    let found = if shown.is_empty() {
        "it has no content type".to_owned()
    } else {
        format!("its content type is `{shown}`")
    };
    unsupported(format!(
        "the request is not a CloudEvent: {found} and there is no header `ce-specversion`; send the event \
         as {}, several as {}, or the payload with the attributes in headers such as `ce-id`",
        CloudEvent::CONTENT_TYPE,
        CloudEventBatch::CONTENT_TYPE
    ))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn of(given: &[(&str, &str)]) -> Result<Form, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        Form::of(&headers).map_err(|problem| problem.to_json().to_string())
    }

    #[test]
    fn the_form_goes_by_the_content_type_and_then_by_the_headers() {
        for (content_type, form) in [
            ("application/cloudevents+json", Form::Structured),
            (
                "Application/CloudEvents+JSON; charset=UTF-8",
                Form::Structured,
            ),
            (
                "application/cloudevents-batch+json;charset=\"utf-8\"",
                Form::Batch,
            ),
            ("application/json", Form::Binary),
            ("text/plain; charset=latin1", Form::Binary),
        ] {
            let headers = [("content-type", content_type), ("ce-specversion", "1.0")];
            assert_eq!(of(&headers), Ok(form), "{content_type}");
        }
        assert_eq!(of(&[("ce-specversion", "1.0")]), Ok(Form::Binary));
    }

    #[test]
    fn what_is_not_an_event_is_refused_with_what_one_is() {
        for (headers, part) in [
            (
                &[("content-type", "application/json")][..],
                "ce-specversion",
            ),
            (&[], "no content type"),
            (
                &[("content-type", "application/cloudevents+avro")],
                "does not read",
            ),
            (
                &[(
                    "content-type",
                    "application/cloudevents+json; charset=latin1",
                )],
                "UTF-8",
            ),
        ] {
            let error = of(headers).unwrap_err();
            assert!(
                error.contains(part) && error.contains("415"),
                "{headers:?}: {error}"
            );
        }
    }
}
