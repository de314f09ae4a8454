//! Nacos by its HTTP API, as far as configuration needs it.
//!
//! A client of our own, over the HTTP that etcd's has: the crate for it speaks gRPC with a second client for HTTP
//! beside it, and with them comes a second library for TLS. The API is that of Nacos 1 and 2.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_brokers::Dialer;
use ensue_core::error::{Error, Result};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::http::Http;

const SCHEME: &str = "nacos";
const PORT: u16 = 8848;
/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// What it says of a configuration that there is none.
const NO_SUCH: &[u8] = b"config data not exist";
/// A token is not used for the last of so many parts of its time.
const TOKEN_PARTS: u32 = 10;
/// However long the server says.
const TOKEN_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const FORM: &str = "application/x-www-form-urlencoded";
const CONTENT_MD5: &str = "content-md5";

/// A client of Nacos.
pub(crate) struct Nacos {
    http: Http,
    token: Mutex<Option<Token>>,
}

/// What a login gives.
#[derive(Clone)]
struct Token {
    text: String,
    until: Instant,
}

/// What a configuration is called, within the namespace of the URL: letters, digits, `.`, `:`, `-` and `_`.
#[derive(Clone, Debug)]
pub(crate) struct DataId {
    pub(crate) group: String,
    pub(crate) name: String,
}

/// A configuration as it was read.
pub(crate) struct Content {
    pub(crate) text: Bytes,
    /// The server's word for this text.
    pub(crate) md5: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    access_token: String,
    /// Seconds.
    token_ttl: u64,
}

impl Nacos {
    /// Takes the URL apart; it is connected with the first question.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let dialer = Dialer::of(url, SCHEME, PORT)?;
        let server = dialer.server();
        if !is_name(&server.path) {
            return Err(server.unfit(
                format!("there can be no namespace `{}`", server.path),
                "write the namespace's id, or nothing for the public one: nacos://host:port/id",
            ));
        }
        Ok(Self {
            http: Http::new(dialer),
            token: Mutex::default(),
        })
    }

    /// What there is of it now.
    pub(crate) async fn get(&self, id: &DataId) -> Result<Option<Content>> {
        let DataId { group, name } = id;
        let mut uri = format!("/nacos/v1/cs/configs?dataId={name}&group={group}");
        let namespace = self.tenant();
        if !namespace.is_empty() {
            uri = format!("{uri}&tenant={namespace}");
        }
        let ask = || (Request::get(&uri), Bytes::new());
        let answer = self.ask(ask, ANSWER).await?;
        match answer.status() {
            StatusCode::OK => {
                let md5 = answer.headers().get(CONTENT_MD5);
                let md5 = md5.and_then(|it| it.to_str().ok());
                let md5 = md5.ok_or_else(|| self.unfit("it does not say its `Content-MD5`"))?;
                Ok(Some(Content {
                    md5: md5.to_owned(),
                    text: answer.into_body(),
                }))
            }
            StatusCode::NOT_FOUND if answer.body().starts_with(NO_SUCH) => Ok(None),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Waits until there is something else than what has this MD5 (none, if there is nothing), for about `wait`
    /// at the most, which is at least 10 s. Cancel-safe.
    pub(crate) async fn changed(&self, id: &DataId, md5: &str, wait: Duration) -> Result<()> {
        let DataId { group, name } = id;
        let mut listened = format!("Listening-Configs={name}%02{group}%02{md5}");
        let namespace = self.tenant();
        if !namespace.is_empty() {
            listened = format!("{listened}%02{namespace}");
        }
        let listened = Bytes::from(format!("{listened}%01"));
        let ask = || {
            let request = Request::post("/nacos/v1/cs/configs/listener")
                .header(CONTENT_TYPE, FORM)
                .header("Long-Pulling-Timeout", wait.as_millis().to_string());
            (request, listened.clone())
        };
        let answer = self.ask(ask, wait + ANSWER).await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Asks; once more with a new token, if the one that it had is not known any more.
    async fn ask(
        &self,
        request: impl Fn() -> (Builder, Bytes),
        limit: Duration,
    ) -> Result<Response<Bytes>> {
        let mut may_repeat = true;
        loop {
            let token = self.token().await?;
            let (mut builder, body) = request();
            if let Some(token) = &token {
                builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = builder.body(Full::new(body));
            let request = request.map_err(|error| self.http.away(error))?;
            let answer = self.http.ask(request, limit).await?;
            let is_refused =
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status());
            if !is_refused || token.is_none() || !std::mem::take(&mut may_repeat) {
                return Ok(answer);
            }
            *self.known_token() = None;
        }
    }

    /// The token, if the URL has a user.
    async fn token(&self) -> Result<Option<String>> {
        let Some(login) = &self.http.dialer().server().login else {
            return Ok(None);
        };
        let known = self.known_token().clone();
        if let Some(known) = known.filter(|it| Instant::now() < it.until) {
            return Ok(Some(known.text));
        }
        let [user, password] = [&login.user, &login.password]
            .map(|it| utf8_percent_encode(it, NON_ALPHANUMERIC).to_string());
        let form = format!("username={user}&password={password}");
        let request = Request::post("/nacos/v1/auth/login")
            .header(CONTENT_TYPE, FORM)
            .body(Full::new(Bytes::from(form)));
        let request = request.map_err(|error| self.http.away(error))?;
        let answer = self.http.ask(request, ANSWER).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refusal(&answer));
        }
        let given: LoggedIn = serde_json::from_slice(answer.body())
            .map_err(|_| self.unfit("it gives no token to who logs in"))?;
        let time = Duration::from_secs(given.token_ttl).min(TOKEN_TIME_MAX);
        let token = Token {
            text: given.access_token.clone(),
            until: Instant::now() + (time - time / TOKEN_PARTS),
        };
        *self.known_token() = Some(token);
        Ok(Some(given.access_token))
    }

    fn known_token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, answer: &Response<Bytes>) -> Error {
        let status = answer.status();
        let server = self.http.dialer().server();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => server.unfit(
                status,
                "write a user who may read the namespace into the URL, nacos://user:password@host:port",
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => self.unfit(status),
            _ => self.http.away(status),
        }
    }

    fn unfit(&self, reason: impl std::fmt::Display) -> Error {
        self.http.dialer().server().unfit(
            reason,
            "it has to have the HTTP API of Nacos 1 and 2, `/nacos/v1/cs/configs`",
        )
    }

    /// The namespace, as Nacos calls it in requests.
    fn tenant(&self) -> &str {
        &self.http.dialer().server().path
    }

    /// Where it is, without secrets.
    pub(crate) fn shown(&self) -> &str {
        &self.http.dialer().server().shown
    }
}

/// Whether Nacos takes it for a name; nothing of it has another meaning in a request.
pub(crate) fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte))
}
