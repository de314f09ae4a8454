//! By which names the server may be reached, and from which web pages.
//!
//! A browser of this machine can send requests to loopback, too: from a page with another name
//! (`Origin`), or by a name that its author resolves to loopback (`Host`, DNS rebinding).

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, header};

use super::login::{CALLBACK_PATH, LOGIN_PATH};
use crate::problem::{Code, Problem};

/// The names that the server may be reached by; without a list, any.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(Option<Vec<String>>);

impl Hosts {
    /// Those of loopback, and `others`.
    pub(crate) fn new(others: &[String]) -> Self {
        let others = others.iter().map(|host| host.to_ascii_lowercase());
        Self(Some(others.collect()))
    }

    /// All names.
    pub(crate) fn any() -> Self {
        Self(None)
    }

    fn allows(&self, authority: &Authority) -> bool {
        let Some(others) = &self.0 else {
            return true;
        };
        let host = authority.host().to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = match address.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        is_loopback || others.contains(&host)
    }

    /// Refuses a request that a web page of another site sent, whatever its credentials are: a browser
    /// sends those by itself.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let headers = request.headers();
        let host = single(headers, header::HOST)?;
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => host.and_then(|host| host.parse().ok()),
        };
        let Some(host) = host.filter(|host| self.allows(host)) else {
            return Err(Problem::new(
                Code::HostNotAllowed,
                "the header `Host` does not name this server: use localhost or a loopback address, or \
                 add the name of the proxy in front of the server to `hosts` in its configuration",
            ));
        };
        let origin = single(headers, header::ORIGIN)?;
        let is_own = |origin: &str| {
            let (_, authority) = origin.split_once("://").unwrap_or_default();
            authority.eq_ignore_ascii_case(host.as_str())
        };
        let fetched_by = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        let is_foreign = matches!(fetched_by, Some(b"cross-site" | b"same-site"));
        // People come from the site of the provider at which they log in.
        let path = request.uri().path();
        let is_login = *request.method() == Method::GET
            && (path == LOGIN_PATH || path == CALLBACK_PATH)
            && headers
                .get("sec-fetch-mode")
                .is_none_or(|it| it == "navigate");
        if (is_foreign && !is_login) || !origin.is_none_or(is_own) {
            return Err(Problem::new(
                Code::CrossOrigin,
                "a web page of another origin may not use this server; send the request from a program, \
                 or let your own server pass it on",
            ));
        }
        Ok(())
    }
}

/// A header that there is at most once.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let value = values.next();
    let text = value.map(|value| value.to_str()).transpose();
    match (text, values.next()) {
        (Ok(text), None) => Ok(text),
        _ => Err(Problem::new(
            Code::InvalidHeader,
            format!("the header `{name}` is there twice or is not text; send it once"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(headers: &[(&str, &str)]) -> Result<(), Code> {
        ask_for("/v1/status", headers)
    }

    fn ask_for(path: &str, headers: &[(&str, &str)]) -> Result<(), Code> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let hosts = Hosts::new(&["ensue.example".to_owned()]);
        hosts.check(&request).map_err(|problem| {
            let code = problem.to_json()["code"].as_str().unwrap().to_owned();
            *Code::ALL.iter().find(|it| it.as_str() == code).unwrap()
        })
    }

    #[test]
    fn a_process_of_this_machine_is_let_in_by_every_name_of_loopback() {
        for host in [
            "localhost",
            "LOCALHOST:3678",
            "127.0.0.1:1",
            "[::1]:3678",
            "ensue.example",
        ] {
            assert_eq!(ask(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_loopback_is_refused() {
        for host in [
            "evil.example:3678",
            "10.0.0.1",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil",
        ] {
            assert_eq!(ask(&[("host", host)]), Err(Code::HostNotAllowed), "{host}");
        }
        assert_eq!(ask(&[]), Err(Code::HostNotAllowed));
        let twice = ask(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(twice, Err(Code::InvalidHeader));
    }

    #[test]
    fn a_web_page_of_another_origin_is_refused() {
        let host = ("host", "localhost:3678");
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:3000",
            "http://localhost",
        ] {
            assert_eq!(
                ask(&[host, ("origin", origin)]),
                Err(Code::CrossOrigin),
                "{origin}"
            );
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(
                ask(&[host, ("sec-fetch-site", site)]),
                Err(Code::CrossOrigin),
                "{site}"
            );
        }
        // A provider sends people back, and nothing but them.
        let back = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(ask_for(CALLBACK_PATH, &back), Ok(()));
        assert_eq!(ask(&back), Err(Code::CrossOrigin));
        let script = [host, back[1], ("sec-fetch-mode", "no-cors")];
        assert_eq!(ask_for(CALLBACK_PATH, &script), Err(Code::CrossOrigin));
        assert!(ask(&[host, ("origin", "http://localhost:3678")]).is_ok());
        assert!(ask(&[host, ("sec-fetch-site", "same-origin")]).is_ok());
        assert!(ask(&[host, ("sec-fetch-site", "none")]).is_ok());
    }
}
