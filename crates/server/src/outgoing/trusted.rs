//! URLs that the configuration trusts with who callers are.

use std::net::IpAddr;

use axum::http::Uri;

/// The URL that `text` is, if it can be trusted: with `https`, or with `http` on this machine. Says why
/// it cannot.
pub(crate) fn trusted_url(text: &str) -> Result<Uri, String> {
    let expected = "expected `https://HOST/PATH`, or `http` with a loopback address";
    let shown: String = text.chars().take(200).collect();
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("`{shown}` is not a URL ({error}); {expected}"))?;
    let Some(authority) = uri.authority().filter(|it| !it.host().is_empty()) else {
        return Err(format!("`{shown}` has no host; {expected}"));
    };
    if authority.as_str().contains('@') || text.contains('#') {
        return Err("has a user or a fragment in its URL; leave it out".to_owned());
    }
    let is_allowed = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(authority.host()),
        _ => false,
    };
    if is_allowed {
        Ok(uri)
    } else {
        Err(format!("`{shown}` is not protected by TLS; {expected}"))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_url_has_tls_or_is_on_this_machine() {
        for text in [
            "https://id.example",
            "https://id.example:8443/realms/a?x=1",
            "http://127.0.0.1:9000/keys",
            "http://[::1]:9000",
            "http://localhost:9000",
        ] {
            assert!(trusted_url(text).is_ok(), "{text}");
        }
        for text in [
            "http://id.example",
            "http://10.0.0.1/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "https://me:secret@id.example/",
            "https://id.example/#x",
            "ftp://id.example/",
            "/keys",
            "keys",
            "",
        ] {
            let problem = trusted_url(text).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
