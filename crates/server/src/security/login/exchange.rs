//! A code, exchanged for a token.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::security::provider::{Endpoints, Provider};

/// The largest secret of a client, in bytes.
const SECRET_BYTES_MAX: usize = 4096;

/// What the provider knows this server by. It has no `Debug`.
pub(super) struct Secret(String);

#[derive(Deserialize)]
struct Granted {
    id_token: String,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Secret {
    /// The secret that a file holds. Says why it holds none.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "is not text")?.trim();
        if (1..=SECRET_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err("does not hold one secret, on one line")
        }
    }
}

/// This server, as the provider knows it.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<Secret>,
    /// Where the provider sends people back to.
    pub(super) redirect_uri: String,
}

impl Client {
    /// The ID token that the provider gives for a code. Says why it gives none.
    pub(super) async fn exchange(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
        (code, verifier): (&str, &str),
    ) -> Result<String, String> {
        let id = self.id.as_str();
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("code_verifier", verifier),
        ];
        let mut authorization = None;
        match &self.secret {
            Some(Secret(secret)) if !endpoints.takes_secret_in_form => {
                let pair = format!("{}:{}", encoded(id), encoded(secret));
                let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
                let mut value = value.map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                authorization = Some(value);
            }
            Some(Secret(secret)) => {
                fields.extend([("client_id", id), ("client_secret", secret.as_str())]);
            }
            None => fields.push(("client_id", id)),
        }
        let token = endpoints.token.clone();
        let answer = provider.post_form(token, authorization, form(&fields));
        let answer = answer.await?;
        if answer.status.is_success() {
            let granted: Granted = serde_json::from_slice(&answer.body)
                .map_err(|_| "it gave no ID token".to_owned())?;
            return Ok(granted.id_token);
        }
        let refused: Option<Refused> = serde_json::from_slice(&answer.body).ok();
        let error = refused.map(|refused| refused.error).unwrap_or_default();
        Err(format!("{} {}", answer.status, error_code(&error)))
    }
}

/// An error code of OAuth, as far as it is one.
pub(super) fn error_code(text: &str) -> String {
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || *it == '_';
    text.chars().filter(is_plain).take(60).collect()
}

/// Fields as a form has them, and a query.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_so_that_no_value_ends_its_field() {
        let text = form(&[("a", "x&b=y z"), ("c", "ü+%")]);
        assert_eq!(text, "a=x%26b%3Dy%20z&c=%C3%BC%2B%25");
    }

    #[test]
    fn a_secret_is_one_line() {
        assert!(Secret::parse(b"s3cret\n").is_ok());
        for bad in [&b""[..], b"\n", b"a\nb", &[0xff]] {
            assert!(Secret::parse(bad).is_err());
        }
    }
}
