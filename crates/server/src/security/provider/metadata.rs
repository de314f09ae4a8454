//! What an identity provider says of itself (OpenID Connect Discovery 1.0).

use axum::http::Uri;
use serde::Deserialize;

use crate::outgoing::{Documents, trusted_url};

const PATH: &str = "/.well-known/openid-configuration";

/// Where a provider has what.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) keys_url: Uri,
    pub(super) endpoints: Option<Endpoints>,
}

/// Where people log in.
#[derive(Debug)]
pub(in crate::security) struct Endpoints {
    pub(in crate::security) authorization: Uri,
    pub(in crate::security) token: Uri,
    /// Whether the client's secret is sent in the form, as the header is not understood.
    pub(in crate::security) takes_secret_in_form: bool,
    /// Whether every answer says who it is from (RFC 9207).
    pub(in crate::security) says_issuer: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    pub(super) async fn fetch(documents: &Documents, issuer: &str) -> Result<Self, String> {
        let of_it = |problem| format!("what it says of itself (`{PATH}`): {problem}");
        let uri = trusted_url(&format!("{}{PATH}", issuer.trim_end_matches('/'))).map_err(of_it)?;
        let json = documents.get(uri).await.map_err(of_it)?;
        Self::parse(&json, issuer).map_err(of_it)
    }

    fn parse(json: &[u8], issuer: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if document.issuer != issuer {
            let found: String = document.issuer.chars().take(200).collect();
            return Err(format!(
                "it is the issuer `{found}`; the configuration names `{issuer}`, and both have to be alike"
            ));
        }
        // One that is reached over TLS leads to nothing that is not.
        let needs_tls = issuer.starts_with("https:");
        let url = |text: &str| {
            let uri = trusted_url(text)?;
            if needs_tls && uri.scheme_str() != Some("https") {
                return Err(format!("it names `{text}`, which is not protected by TLS"));
            }
            Ok(uri)
        };
        let endpoints = match (&document.authorization_endpoint, &document.token_endpoint) {
            (Some(authorization), Some(token)) => {
                let methods = document.token_endpoint_auth_methods_supported;
                Some(Endpoints {
                    authorization: url(authorization)?,
                    token: url(token)?,
                    takes_secret_in_form: methods.is_some_and(|methods| {
                        let has = |name: &str| methods.iter().any(|it| it == name);
                        has("client_secret_post") && !has("client_secret_basic")
                    }),
                    says_issuer: document.authorization_response_iss_parameter_supported,
                })
            }
            _ => None,
        };
        Ok(Self {
            keys_url: url(&document.jwks_uri)?,
            endpoints,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example/realm";

    fn parse(more: Value) -> Result<Metadata, String> {
        let mut document = json!({
            "issuer": ISSUER,
            "jwks_uri": "https://id.example/keys",
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        Metadata::parse(document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn a_provider_says_where_its_keys_and_its_login_are() {
        let metadata = parse(json!({})).unwrap();
        assert_eq!(metadata.keys_url, "https://id.example/keys");
        let endpoints = metadata.endpoints.unwrap();
        assert_eq!(endpoints.token, "https://id.example/token");
        assert!(!endpoints.takes_secret_in_form && !endpoints.says_issuer);
        let metadata = parse(json!({
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "authorization_response_iss_parameter_supported": true,
        }));
        let endpoints = metadata.unwrap().endpoints.unwrap();
        assert!(endpoints.takes_secret_in_form && endpoints.says_issuer);
        assert!(
            parse(json!({"token_endpoint": null}))
                .unwrap()
                .endpoints
                .is_none()
        );
    }

    #[test]
    fn a_provider_that_says_it_is_another_or_leads_out_of_tls_is_refused() {
        for (more, part) in [
            (json!({"issuer": "https://evil.example"}), "alike"),
            (json!({"issuer": "https://id.example/realm/"}), "alike"),
            (json!({"jwks_uri": "http://127.0.0.1/keys"}), "TLS"),
            (json!({"jwks_uri": "http://id.example/keys"}), "TLS"),
            (json!({"token_endpoint": "http://localhost/token"}), "TLS"),
            (
                json!({"authorization_endpoint": "javascript:alert(1)"}),
                "TLS",
            ),
            (json!({"jwks_uri": null}), "invalid type"),
        ] {
            let problem = parse(more.clone()).unwrap_err();
            assert!(problem.contains(part), "{more}: {problem}");
        }
    }
}
