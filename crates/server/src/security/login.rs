//! The login of people: this server is the relying party of an OpenID provider (authorization code with
//! PKCE). What comes of it is a session.

mod attempt;
mod exchange;

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use ensue::Timestamp;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use self::attempt::{Attempt, Attempts, LASTS, NoAttempt};
use self::exchange::{Client, Secret, error_code, form};
use super::cookies::{ATTEMPT, SESSION};
use super::files::Files;
use super::jwt::{self, Fault, Verified};
use super::provider::{Endpoints, Provider, ProviderSettings, Providers};
use super::sessions::{Person, SessionId, Sessions};
use crate::config::{self, ConfigError};
use crate::problem::{Code, Problem};

/// Where people begin to log in, and where the provider sends them back to.
pub(crate) const LOGIN_PATH: &str = "/v1/login";
pub(crate) const CALLBACK_PATH: &str = "/v1/login/callback";
/// Where people go when they have logged in, unless they said.
const RETURN_TO: &str = "/v1/session";
/// The longest path to go to, in bytes.
const RETURN_TO_BYTES_MAX: usize = 1000;
/// How many codes are exchanged at a time.
const EXCHANGES_MAX: usize = 16;

/// What outlives a change of the files: the sessions, and the logins that have begun.
pub(super) struct Logins {
    pub(super) sessions: Sessions,
    attempts: Attempts,
    exchanges: Semaphore,
}

/// How people log in, as the files say at one time.
pub(super) struct Login {
    config: config::Login,
    client: Client,
    provider: Arc<Provider>,
    logins: Arc<Logins>,
}

/// What a provider sends a browser back with.
#[derive(Default)]
pub(crate) struct Callback {
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) error: Option<String>,
}

/// The cookie of a login that has begun.
#[derive(Clone)]
pub(crate) struct AttemptCookie(pub(super) String);

/// Where a browser goes to log in, with which cookie.
pub(crate) struct Begun {
    pub(crate) location: String,
    pub(crate) cookie: String,
}

/// A session that was opened, and where its browser goes.
pub(super) struct Finished {
    pub(super) session: SessionId,
    pub(super) cookies: [String; 2],
    pub(super) return_to: String,
}

impl Logins {
    pub(super) fn new() -> Result<Self, &'static str> {
        Ok(Self {
            sessions: Sessions::default(),
            attempts: Attempts::new()?,
            exchanges: Semaphore::new(EXCHANGES_MAX),
        })
    }
}

impl Login {
    pub(super) fn read(
        config: &config::Login,
        files: &mut Files,
        providers: &Providers,
        logins: &Arc<Logins>,
    ) -> Result<Self, ConfigError> {
        let secret = match &config.client_secret {
            Some(path) => {
                let text = files.read_private("auth.login.client_secret", path)?;
                Some(
                    Secret::parse(&text).map_err(|problem| ConfigError::Invalid {
                        name: "auth.login.client_secret".to_owned(),
                        problem: format!("names a file that {problem}"),
                    })?,
                )
            }
            None => None,
        };
        let settings = ProviderSettings::read(
            "auth.login",
            &config.issuer,
            None,
            config.ca_file.as_deref(),
            files,
        )?;
        let origin = config.url.trim_end_matches('/');
        Ok(Self {
            client: Client {
                id: config.client_id.clone(),
                secret,
                redirect_uri: format!("{origin}{CALLBACK_PATH}"),
            },
            config: config.clone(),
            provider: providers.of(settings)?,
            logins: logins.clone(),
        })
    }

    /// The scheme and authority that browsers reach this server by.
    fn origin(&self) -> &str {
        self.config.url.trim_end_matches('/')
    }

    fn is_secure(&self) -> bool {
        self.config.url.starts_with("https:")
    }

    /// Whose session the request has, if it has one.
    pub(super) fn session(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Option<Result<(SessionId, Arc<Person>), Problem>> {
        let secret = SESSION.read(headers, self.is_secure())?;
        let found = self.logins.sessions.by_secret(secret, now);
        let found = found.filter(|(_, person)| self.is_of(person));
        Some(found.ok_or_else(|| {
            Problem::new(
                Code::Unauthenticated,
                "the session has ended; log in again at `/v1/login`",
            )
        }))
    }

    /// Whose session this is, if it has not ended.
    pub(super) fn still(&self, id: SessionId, now: Timestamp) -> Option<Arc<Person>> {
        let person = self.logins.sessions.get(id, now);
        person.filter(|person| self.is_of(person))
    }

    /// Whether a person logged in by what the files say now.
    fn is_of(&self, person: &Person) -> bool {
        person.issuer == self.config.issuer && person.client_id == self.config.client_id
    }

    /// Refuses a request that would change something, unless a page of this server sent it: a browser
    /// adds the cookie by itself.
    pub(super) fn must_be_own(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let is_own = match text(header::ORIGIN.as_str()) {
            Some(origin) => origin.eq_ignore_ascii_case(self.origin().as_bytes()),
            None => text("sec-fetch-site") == Some(b"same-origin"),
        };
        if is_own {
            return Ok(());
        }
        Err(Problem::new(
            Code::CrossOrigin,
            "a request with a session that changes something has to come from a page of this server: \
             `Origin` is not the setting `auth.login.url`; programs use a token",
        ))
    }

    /// The value of a cookie that says which login has begun.
    pub(super) fn attempt(&self, headers: &HeaderMap) -> Option<AttemptCookie> {
        let value = ATTEMPT.read(headers, self.is_secure())?;
        Some(AttemptCookie(value.to_owned()))
    }

    /// Begins a login: gives where the browser goes.
    pub(super) async fn begin(
        &self,
        return_to: Option<&str>,
        now: Timestamp,
    ) -> Result<Begun, Problem> {
        let return_to = return_to.unwrap_or(RETURN_TO);
        if !is_path(return_to) {
            return Err(Problem::new(
                Code::InvalidParameter,
                "the parameter `return_to` is not a path of this server; expected one such as `/v1/status`",
            ));
        }
        let endpoints = self.endpoints().await?;
        let attempt = Attempt::new(return_to, now).map_err(internal)?;
        let cookie = self.logins.attempts.seal(&attempt).map_err(internal)?;
        let scopes = std::iter::once("openid").chain(self.config.scopes.iter().map(String::as_str));
        let scopes = scopes.collect::<Vec<_>>().join(" ");
        let challenge = attempt.challenge();
        let query = form(&[
            ("response_type", "code"),
            ("client_id", self.config.client_id.as_str()),
            ("redirect_uri", self.client.redirect_uri.as_str()),
            ("scope", scopes.as_str()),
            ("state", attempt.state.as_str()),
            ("nonce", attempt.nonce.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ]);
        let to = endpoints.authorization.to_string();
        let mark = if to.contains('?') { '&' } else { '?' };
        Ok(Begun {
            location: format!("{to}{mark}{query}"),
            cookie: ATTEMPT.set(&cookie, LASTS, self.is_secure()),
        })
    }

    /// Whether something that the provider signs can be verified.
    pub(super) fn has_keys(&self) -> bool {
        self.provider.keys().is_some()
    }

    async fn endpoints(&self) -> Result<Arc<Endpoints>, Problem> {
        if let Some(endpoints) = self.provider.endpoints() {
            return Ok(endpoints);
        }
        self.provider.renewed().await;
        self.provider.endpoints().ok_or_else(|| {
            if self.provider.keys().is_none() {
                return self.provider.unavailable();
            }
            let problem = "the provider does not say where people log in (`authorization_endpoint`, \
                           `token_endpoint`)";
            Problem::new(Code::IssuerUnavailable, problem)
        })
    }

    /// Ends a login: the browser is back, with a code for a token.
    pub(super) async fn finish(
        &self,
        callback: Callback,
        cookie: Option<&AttemptCookie>,
        now: Timestamp,
    ) -> Result<Finished, Problem> {
        let attempt = self.attempt_of(&callback, cookie, now)?;
        let endpoints = self.endpoints().await?;
        self.check_sender(&callback, &endpoints)?;
        let code = code_of(callback)?;
        let exchanging = self.logins.exchanges.try_acquire();
        let _exchanging = exchanging.map_err(|_| too_many())?;
        let proof = (code.as_str(), attempt.verifier.as_str());
        let token = self.client.exchange(&self.provider, &endpoints, proof);
        let token = token.await;
        let token = token
            .map_err(|problem| failed(format!("the provider did not take the code: {problem}")))?;
        let verified = self.verify(&token).await?;
        let person = self.person(&verified, &attempt.nonce, now);
        let person = person.map_err(|reason| failed(reason.to_owned()))?;
        let spent = self.logins.attempts.spend(&attempt, now);
        spent.map_err(no_attempt)?;
        let (idle, max) = (self.config.session_idle, self.config.session_max);
        let opened = self.logins.sessions.open(person, idle, max, now);
        let (secret, session) = opened.map_err(internal)?;
        let is_secure = self.is_secure();
        Ok(Finished {
            session,
            cookies: [
                SESSION.set(&secret, max, is_secure),
                ATTEMPT.clear(is_secure),
            ],
            return_to: attempt.return_to,
        })
    }

    /// The login that this browser has begun.
    fn attempt_of(
        &self,
        callback: &Callback,
        cookie: Option<&AttemptCookie>,
        now: Timestamp,
    ) -> Result<Attempt, Problem> {
        let Some(AttemptCookie(cookie)) = cookie else {
            let problem = "this browser has not begun to log in, or did so too long ago; begin again at \
                           `/v1/login`";
            return Err(failed(problem.to_owned()));
        };
        let state = callback.state.as_deref().unwrap_or_default();
        let is_it = |attempt: &Attempt| attempt.state.as_bytes().ct_eq(state.as_bytes()).into();
        let found = self.logins.attempts.find(cookie, is_it, now);
        found.map_err(no_attempt)
    }

    /// Refuses the answer of another provider (RFC 9207).
    fn check_sender(&self, callback: &Callback, endpoints: &Endpoints) -> Result<(), Problem> {
        let is_own = match &callback.issuer {
            Some(issuer) => *issuer == self.config.issuer,
            None => !endpoints.says_issuer,
        };
        if is_own {
            return Ok(());
        }
        let problem = "the answer is not from the provider that the configuration names (`iss`)";
        Err(failed(problem.to_owned()))
    }

    /// The claims of a token that the provider has signed.
    async fn verify(&self, token: &str) -> Result<Verified, Problem> {
        let by_known = || match self.provider.keys() {
            Some(keys) => jwt::verify(token, &keys),
            None => Err(Fault::UnknownKey),
        };
        let mut found = by_known();
        if matches!(found, Err(Fault::UnknownKey)) && self.provider.renewed().await {
            found = by_known();
        }
        found.map_err(|fault| failed(fault.reason().to_owned()))
    }

    /// Who has logged in, by the claims of their ID token (OpenID Connect Core 3.1.3.7).
    fn person(
        &self,
        token: &Verified,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Person, &'static str> {
        let client = self.config.client_id.as_str();
        let now = now.as_micros().div_euclid(1_000_000);
        token.check(&self.config.issuer, client, now)?;
        let audiences = token.claim("aud").and_then(|aud| aud.as_array());
        let has_several = audiences.is_some_and(|all| all.len() > 1);
        let party = token.claim("azp");
        if (party.is_some() || has_several) && party.and_then(|it| it.as_str()) != Some(client) {
            return Err("the token was made for another client (`azp`)");
        }
        let found = token.text("nonce").unwrap_or_default();
        if !bool::from(found.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err("the token belongs to another login (`nonce`)");
        }
        Ok(Person {
            issuer: self.config.issuer.clone(),
            client_id: self.config.client_id.clone(),
            subject: token.subject()?.to_owned(),
            roles: token.roles(&self.config.roles_claim),
        })
    }

    /// Ends a session, and gives what removes its cookie.
    pub(super) fn end(&self, session: SessionId) -> String {
        self.logins.sessions.close(session);
        SESSION.clear(self.is_secure())
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.logins.sessions
    }
}

fn no_attempt(why: NoAttempt) -> Problem {
    match why {
        NoAttempt::TooMany => too_many(),
        NoAttempt::Invalid => {
            let problem = "the answer belongs to another login, or to one that is over (`state`); begin \
                           again at `/v1/login`";
            failed(problem.to_owned())
        }
    }
}

fn code_of(callback: Callback) -> Result<String, Problem> {
    if let Some(error) = callback.error {
        let error = error_code(&error);
        return Err(failed(format!("the provider answered `{error}`")));
    }
    let code = callback.code.filter(|code| !code.is_empty());
    code.ok_or_else(|| failed("the provider gave no code".to_owned()))
}

/// Whether a text is a path of this server that can stand in a page.
fn is_path(text: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~?=&%:@+,;*!$()".contains(&byte);
    let is_local = text.starts_with('/') && !text.starts_with("//");
    is_local && text.len() <= RETURN_TO_BYTES_MAX && text.bytes().all(is_plain)
}

fn failed(detail: String) -> Problem {
    Problem::new(Code::LoginFailed, detail)
}

fn internal(detail: &'static str) -> Problem {
    Problem::new(Code::Internal, detail)
}

fn too_many() -> Problem {
    Problem::new(
        Code::Overloaded,
        "too many people log in at the same time; try again in a moment",
    )
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_go_to_is_one_of_this_server_and_cannot_leave_a_page() {
        for path in ["/", "/v1/status", "/v1/events?topic=%3E&limit=10"] {
            assert!(is_path(path), "{path}");
        }
        let long = format!("/{}", "a".repeat(RETURN_TO_BYTES_MAX));
        for path in [
            "",
            "v1",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\"><script>",
            "/a b",
            "/a\r\nset-cookie: x",
            "/é",
            &long,
        ] {
            assert!(!is_path(path), "{path}");
        }
    }
}
