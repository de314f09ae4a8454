//! What the files say at one time: TLS, who may call, and what they may do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use ensue::Timestamp;
use serde::Serialize;

use super::caller::{Proof, Who};
use super::files::Files;
use super::hosts::Hosts;
use super::issuer::{Claims, Issuer};
use super::jwt;
use super::login::{Login, Logins};
use super::permissions::Permissions;
use super::provider::Providers;
use super::roles::{Roles, permissions};
use super::sessions::{Person, SessionId};
use super::tls::{Authorities, Certified, Encryption};
use super::tokens::{self, TokenEntry, TokenFile};
use super::usage::{Usage, Usages};
use crate::config::{Auth, Config, ConfigError, JWT_PREFIX, LOGIN_PREFIX, Role};
use crate::personal::Masks;
use crate::problem::{Code, Problem};

/// What the files say at one time.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(super) hosts: Hosts,
    pub(super) encryption: Option<Encryption>,
    /// Without it, everyone who reaches the server is its owner.
    known: Option<Known>,
    local: Arc<Who>,
    /// What is personal in events.
    pub(super) masks: Arc<Masks>,
}

/// Those who may call.
#[derive(Debug, Default)]
struct Known {
    /// By the token's id.
    tokens: HashMap<String, (TokenEntry, Arc<Who>)>,
    /// By a name in their certificate.
    certificates: HashMap<String, Arc<Who>>,
    authorities: Option<Authorities>,
    issued: Option<Issued>,
    people: Option<People>,
}

/// Those that have a token of an issuer.
#[derive(Debug)]
struct Issued {
    issuer: Issuer,
    roles: Roles,
}

/// Those that have logged in.
#[derive(Debug)]
struct People {
    login: Login,
    roles: Roles,
}

/// What outlives a change of the files.
#[derive(Debug)]
pub(super) struct Lasting {
    pub(super) usages: Usages,
    pub(super) providers: Providers,
    logins: Arc<Logins>,
}

impl Lasting {
    pub(super) fn new(logins: Logins) -> Self {
        Self {
            usages: Usages::default(),
            providers: Providers::default(),
            logins: Arc::new(logins),
        }
    }
}

impl Policy {
    /// `newer`, unless it would take away what protects the server or what is personal: that needs a restart,
    /// as a file may be empty or half there for a moment while it is written.
    pub(super) fn succeeded_by(&self, newer: Self) -> Result<Self, ConfigError> {
        let is_lost = |had: bool, has: bool| had && !has;
        let (tls, auth) = (
            is_lost(self.encryption.is_some(), newer.encryption.is_some()),
            is_lost(self.known.is_some(), newer.known.is_some()),
        );
        let unmasked = self.masks.lost_in(&newer.masks);
        let (name, what) = match unmasked {
            _ if tls => (
                "tls",
                "is gone from the file, and a server that runs stays protected".to_owned(),
            ),
            _ if auth => (
                "auth",
                "is gone from the file, and a server that runs stays protected".to_owned(),
            ),
            Some(topics) => (
                "personal",
                format!(
                    "does not have all that was personal of `{topics}`, and a server that runs goes on to leave it out"
                ),
            ),
            None => return Ok(newer),
        };
        Err(ConfigError::Invalid {
            name: name.to_owned(),
            problem: format!("{what}; put it back, or restart the server to go on without it"),
        })
    }

    /// What the files say that `config` names.
    pub(super) fn read(
        config: &Config,
        files: &mut Files,
        lasting: &Lasting,
    ) -> Result<Self, ConfigError> {
        let encryption = match &config.tls {
            Some(tls) => Some(Encryption::read(tls, files)?),
            None => None,
        };
        let authorities = encryption.as_ref().and_then(Encryption::authorities);
        let known = match &config.auth {
            Some(auth) => {
                let tokens = match &auth.tokens {
                    Some(path) => read_tokens(path, files)?,
                    None => Vec::new(),
                };
                let usage = |name: &str| lasting.usages.of(name, &config.limits);
                let roles = || Roles::new(&config.roles, &lasting.usages, &config.limits);
                let mut known = Known::new(auth, &config.roles, tokens, authorities, usage);
                if let Some(jwt) = &auth.jwt {
                    let issuer = Issuer::read(jwt, files, &lasting.providers)?;
                    let roles = roles();
                    known.issued = Some(Issued { issuer, roles });
                }
                if let Some(login) = &auth.login {
                    let (providers, logins) = (&lasting.providers, &lasting.logins);
                    let login = Login::read(login, files, providers, logins)?;
                    let roles = roles();
                    known.people = Some(People { login, roles });
                }
                Some(known)
            }
            None => None,
        };
        // Names are of use against web pages that act for the owner of this machine.
        let hosts = if config.listen.is_loopback() && known.is_none() {
            Hosts::new(&config.hosts)
        } else {
            Hosts::any()
        };
        Ok(Self {
            hosts,
            encryption,
            known,
            local: Arc::new(Who::local()),
            masks: Arc::new(Masks::new(&config.personal)),
        })
    }

    pub(super) fn has_authentication(&self) -> bool {
        self.known.is_some()
    }

    /// Whether nobody can be let in, as the keys of the issuers have not come yet, and no one else is known.
    pub(super) fn waits_for_keys(&self, now: Timestamp) -> bool {
        let Some(known) = &self.known else {
            return false;
        };
        let issued = known.issued.as_ref().map(|it| it.issuer.has_keys());
        let people = known.people.as_ref().map(|it| it.login.has_keys());
        let mut tokens = known.tokens.values();
        let lets_others_in =
            !known.certificates.is_empty() || tokens.any(|(entry, _)| !entry.is_expired(now));
        let waits = [issued, people].contains(&Some(false));
        let has_some = [issued, people].contains(&Some(true));
        waits && !has_some && !lets_others_in
    }

    /// How people log in, if they can.
    pub(super) fn login(&self) -> Result<&Login, Problem> {
        let people = self.known.as_ref().and_then(|known| known.people.as_ref());
        people.map(|people| &people.login).ok_or_else(|| {
            Problem::new(
                Code::NotFound,
                "people do not log in to this server: its configuration has no `[auth.login]`",
            )
        })
    }

    /// Who sent a request with this method and these headers over a connection with this certificate.
    pub(super) async fn who(
        &self,
        method: &Method,
        headers: &HeaderMap,
        certified: Option<&Certified>,
        now: Timestamp,
    ) -> Result<Arc<Who>, Problem> {
        let Some(known) = &self.known else {
            return Ok(self.local.clone());
        };
        let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
        match (credentials.next(), credentials.next()) {
            (Some(credential), None) => known.by_token(credential.to_str().ok(), now).await,
            (Some(_), Some(_)) => Err(unauthenticated(
                "the header `Authorization` is there twice; send it once",
            )),
            (None, _) => match (known.by_session(method, headers, now), certified) {
                (Some(who), _) => who,
                (None, Some(certified)) => known.by_certificate(certified),
                (None, None) if known.people.is_some() => Ok(Arc::new(Who::stranger_at_login())),
                (None, None) => Ok(Arc::new(Who::stranger())),
            },
        }
    }
}

/// What is different in a policy from the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Tokens, by whose they are and their id.
    tokens_added: Vec<String>,
    tokens_revoked: Vec<String>,
    /// Callers that may do something else than before, or are new or gone, by their names.
    permissions_changed: BTreeSet<String>,
    authentication_changed: bool,
}

impl Difference {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// From `old` to `new`.
    pub(super) fn between(old: &Policy, new: &Policy) -> Self {
        let nothing = Known::default();
        let known = |policy: &'_ Policy| policy.known.is_some();
        let (before, after) = (
            old.known.as_ref().unwrap_or(&nothing),
            new.known.as_ref().unwrap_or(&nothing),
        );
        let callers = |it: &Known| -> BTreeMap<String, Permissions> {
            let of_tokens = it.tokens.values().map(|(_, who)| who);
            let all = of_tokens.chain(it.certificates.values());
            all.map(|who| (who.name().to_owned(), who.permissions().clone()))
                .collect()
        };
        let (was, is) = (callers(before), callers(after));
        let names = was.keys().chain(is.keys());
        Self {
            tokens_added: without(after, before),
            tokens_revoked: without(before, after),
            permissions_changed: names
                .filter(|name| was.get(*name) != is.get(*name))
                .cloned()
                .collect(),
            authentication_changed: known(old) != known(new),
        }
    }
}

/// The tokens of one that the other does not have.
fn without(one: &Known, other: &Known) -> Vec<String> {
    let tokens = one.tokens.iter();
    let tokens = tokens.filter(|(id, _)| !other.tokens.contains_key(*id));
    let mut names: Vec<String> = tokens
        .map(|(id, (entry, _))| format!("{} {id}", entry.name))
        .collect();
    names.sort_unstable();
    names
}

impl Policy {
    /// What a caller may do now who was let in before, or why they are not known any more.
    pub(super) fn still(&self, who: &Who, now: Timestamp) -> Result<Arc<Who>, Problem> {
        let Some(known) = &self.known else {
            return Ok(self.local.clone());
        };
        let found = match who.proof() {
            Proof::Token(id) => known
                .tokens
                .get(id)
                .filter(|(entry, _)| !entry.is_expired(now)),
            Proof::Certificate(by) if Some(*by) == known.authorities => {
                return known.certificates.get(who.name()).cloned().ok_or_else(gone);
            }
            Proof::Jwt(proof) => {
                let issued = known.issued.as_ref().filter(|it| it.issuer.is_as(proof));
                let issued = issued.filter(|_| !proof.claims.is_expired(now));
                return issued.map(|it| it.caller(&proof.claims)).ok_or_else(gone);
            }
            Proof::Session(id) => return self.by_session(*id, now),
            Proof::Certificate(_) | Proof::Reach | Proof::Nothing => None,
        };
        found.map(|(_, who)| who.clone()).ok_or_else(gone)
    }
}

impl Policy {
    /// Who has a session that was opened by this policy.
    pub(super) fn by_session(&self, id: SessionId, now: Timestamp) -> Result<Arc<Who>, Problem> {
        let people = self.known.as_ref().and_then(|known| known.people.as_ref());
        let found = people.and_then(|it| Some((it, it.login.still(id, now)?)));
        let who = found.map(|(people, person)| people.caller(id, &person));
        who.ok_or_else(gone)
    }
}

fn gone() -> Problem {
    unauthenticated("the credentials have expired, or were revoked; come again with others")
}

impl Issued {
    /// Who has a token with these claims.
    fn caller(&self, claims: &Arc<Claims>) -> Arc<Who> {
        // An issuer chooses its names: none of them is that of a token or of a certificate.
        let name = format!("{JWT_PREFIX}{}", claims.subject);
        let proof = Proof::Jwt(self.issuer.proof(claims));
        self.roles.caller(name, proof, &claims.roles)
    }
}

impl People {
    /// Who has this session.
    fn caller(&self, session: SessionId, person: &Person) -> Arc<Who> {
        let name = format!("{LOGIN_PREFIX}{}", person.subject);
        let proof = Proof::Session(session);
        self.roles.caller(name, proof, &person.roles)
    }
}

impl Known {
    fn new(
        auth: &Auth,
        roles: &BTreeMap<String, Role>,
        tokens: Vec<TokenEntry>,
        authorities: Option<Authorities>,
        usage: impl Fn(&str) -> Arc<Usage>,
    ) -> Self {
        let tokens = tokens.into_iter().map(|entry| {
            let (id, name) = (entry.id.clone(), entry.name.clone());
            let permissions = permissions(&name, &entry.roles, roles);
            let usage = usage(&name);
            let who = Who::new(name, Proof::Token(id.clone()), permissions, usage);
            (id, (entry, Arc::new(who)))
        });
        let certificates = auth.certificates.iter().filter_map(|(name, of)| {
            let permissions = permissions(name, of, roles);
            let proof = Proof::Certificate(authorities?);
            let who = Who::new(name.clone(), proof, permissions, usage(name));
            Some((name.clone(), Arc::new(who)))
        });
        Self {
            tokens: tokens.collect(),
            certificates: certificates.collect(),
            authorities,
            issued: None,
            people: None,
        }
    }

    /// Who has the session of the request, if it has one.
    fn by_session(
        &self,
        method: &Method,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Option<Result<Arc<Who>, Problem>> {
        let people = self.people.as_ref()?;
        let found = people.login.session(headers, now)?;
        let who = found.and_then(|(session, person)| {
            if !method.is_safe() {
                people.login.must_be_own(headers)?;
            }
            Ok(people.caller(session, &person))
        });
        Some(who)
    }

    async fn by_token(
        &self,
        credential: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<Who>, Problem> {
        let scheme_and_token = credential.and_then(|text| text.split_once(' '));
        let token = match scheme_and_token {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => {
                return Err(unauthenticated(
                    "the header `Authorization` is not of the form `Bearer TOKEN`",
                ));
            }
        };
        if let Some(issued) = self.issued.as_ref().filter(|_| jwt::is_one(token)) {
            let claims = issued.issuer.claims(token, now).await?;
            return Ok(issued.caller(&claims));
        }
        let found = tokens::id_of(token).and_then(|id| self.tokens.get(id));
        let Some((entry, who)) = found.filter(|(entry, _)| entry.is(token)) else {
            return Err(unauthenticated(
                "the token is not one of this server, or was revoked; `ensue token create` makes another",
            ));
        };
        if entry.is_expired(now) {
            return Err(unauthenticated(
                "the token has expired; `ensue token create` makes another",
            ));
        }
        Ok(who.clone())
    }

    fn by_certificate(&self, certified: &Certified) -> Result<Arc<Who>, Problem> {
        if Some(certified.by) != self.authorities {
            return Err(unauthenticated(
                "the authorities of clients have changed since this connection was opened; connect again",
            ));
        }
        let mut names = certified.names.iter();
        let who = names.find_map(|name| self.certificates.get(name));
        who.cloned().ok_or_else(|| {
            unauthenticated(
                "no name in the client's certificate is in `[auth.certificates]` of the configuration",
            )
        })
    }
}

fn read_tokens(path: &std::path::Path, files: &mut Files) -> Result<Vec<TokenEntry>, ConfigError> {
    // Before the first token there is no file.
    let Some(text) = files.read_private_if_there("auth.tokens", path)? else {
        return Ok(Vec::new());
    };
    let invalid = |problem: String| ConfigError::Invalid {
        name: "auth.tokens".to_owned(),
        problem,
    };
    let text =
        String::from_utf8(text).map_err(|_| invalid("names a file that is not text".to_owned()))?;
    TokenFile::parse(path, &text).map_err(|error| invalid(format!("names a file: {error}")))
}

fn unauthenticated(detail: &'static str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}
