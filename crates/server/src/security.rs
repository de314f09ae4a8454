//! Who is calling, and what they may do: what every request passes before its handler.
//!
//! A route says who may use it ([`Access`]); a handler takes the [`Caller`] as an argument and asks it
//! before it touches a topic, or shows something of one. What callers may do is a [`Policy`], read from
//! files and replaced as a whole when they change.

mod access;
mod addresses;
mod audit;
mod caller;
mod cookies;
mod hosts;
mod issuer;
mod jwk;
mod jwt;
mod login;
mod permissions;
mod policy;
mod provider;
mod reload;
mod roles;
mod sessions;
mod tls;
mod tokens;
mod usage;

mod files;
mod rate;
mod secrets;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Request, header};
use ensue::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

pub(crate) use self::access::{Access, Action};
pub(crate) use self::addresses::{Addresses, Counted};
pub use self::audit::{AUDIT_TOPIC, AuditChain, AuditFinding, AuditHead, AuditReport};
pub(crate) use self::audit::{Loss, Operating, Operation, Trail, check_reason};
pub(crate) use self::caller::Caller;
use self::caller::Proof;
pub(crate) use self::cookies::{ATTEMPT_COOKIE, SESSION_COOKIE};
pub(crate) use self::login::{AttemptCookie, Begun, CALLBACK_PATH, Callback, LOGIN_PATH};
pub(crate) use self::policy::Difference;
pub(crate) use self::provider::ProviderState;
pub(crate) use self::reload::Reload;
use self::reload::Reloading;
pub(crate) use self::tls::{Certified, Encryption};
pub use self::tokens::{NewToken, TokenEntry, TokenError, TokenFile};
pub(crate) use self::usage::answers;
use crate::config::{Config, ConfigError, LOGIN_PREFIX};
use crate::memory::Share;
use crate::problem::{Code, Problem};

/// How many connections set up TLS at a time.
const HANDSHAKES_MAX: usize = 256;

/// Who may reach the server, and what they may do.
#[derive(Debug)]
pub(crate) struct Security {
    reloading: Reloading,
    is_loopback: bool,
    addresses: Arc<Addresses>,
    handshakes: Semaphore,
    /// What goes on for long asks again then who its caller is.
    changes: watch::Sender<()>,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whose certificate it showed, if it did.
    pub(crate) certified: Option<Certified>,
    /// How much of all answers under way may be the connection's, while nobody is known by a name.
    pub(crate) answers: Share,
}

/// A person who has logged in, as their browser is told.
pub(crate) struct LoggedIn {
    pub(crate) caller: Caller,
    pub(crate) cookies: [String; 2],
    pub(crate) return_to: String,
}

/// Who can reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub(crate) reach: &'static str,
    pub(crate) has_tls: bool,
    pub(crate) has_authentication: bool,
}

impl Security {
    /// What the files say that `config` names.
    pub(crate) fn open(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            reloading: Reloading::new(config)?,
            is_loopback: config.listen.is_loopback(),
            addresses: Addresses::new(&config.limits),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            changes: watch::Sender::new(()),
        })
    }

    /// Counts a connection of an address, or refuses it: there are too many, or too fast.
    pub(crate) fn connect(&self, address: SocketAddr) -> Option<Option<Counted>> {
        self.addresses.connect(address.ip())
    }

    /// Waits for the turn to set up TLS, which costs more than anything else that a stranger may ask for.
    pub(crate) async fn handshake(&self) -> Option<SemaphorePermit<'_>> {
        self.handshakes.acquire().await.ok()
    }

    /// What a new connection is encrypted with.
    pub(crate) fn encryption(&self) -> Option<Encryption> {
        self.reloading.policy().encryption.clone()
    }

    /// Who sent the request, or why it is refused. The request loses its credentials: nothing after this
    /// can show them.
    pub(crate) async fn caller<B>(
        &self,
        request: &mut Request<B>,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<Caller, Problem> {
        let policy = self.reloading.policy();
        policy.hosts.check(request)?;
        let (method, headers) = (request.method(), request.headers());
        let who = policy.who(method, headers, peer.certified.as_ref(), now);
        let who = who.await;
        let attempt = policy.login().ok();
        let attempt = attempt.and_then(|login| login.attempt(request.headers()));
        if let Some(cookie) = attempt {
            request.extensions_mut().insert(cookie);
        }
        for credentials in [header::AUTHORIZATION, header::COOKIE] {
            request.headers_mut().remove(credentials);
        }
        let caller = Caller::new(who?, &policy.masks, Some(peer.address));
        let caller = caller.over(Some(peer.answers.clone()));
        caller.request()?;
        Ok(caller)
    }

    /// What a caller may do now who was let in before, or why they are not known any more: for what
    /// goes on for long. Credentials expire without a change.
    pub(crate) fn still(&self, caller: &Caller, now: Timestamp) -> Result<Caller, Problem> {
        let policy = self.reloading.policy();
        let who = policy.still(caller.who(), now);
        who.map(|who| {
            let renewed = Caller::new(who, &policy.masks, caller.address());
            renewed.over(caller.connection_answers())
        })
    }

    /// Sees when other callers are known, or may do something else.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn exposure(&self) -> Exposure {
        let policy = self.reloading.policy();
        let has_tls = policy.encryption.is_some();
        let has_authentication = policy.has_authentication();
        let reach = match (self.is_loopback, has_tls && has_authentication) {
            (true, _) => "loopback",
            (false, true) => "network",
            (false, false) => "everyone",
        };
        Exposure {
            reach,
            has_tls,
            has_authentication,
        }
    }

    /// How the last reading of the files went.
    pub(crate) fn last_reload(&self) -> Reload {
        self.reloading.last()
    }

    /// Begins to log a person in: gives where their browser goes.
    pub(crate) async fn begin_login(
        &self,
        return_to: Option<&str>,
        now: Timestamp,
    ) -> Result<Begun, Problem> {
        let policy = self.reloading.policy();
        policy.login()?.begin(return_to, now).await
    }

    /// Ends that: the browser is back, and gets a session.
    pub(crate) async fn finish_login(
        &self,
        callback: Callback,
        attempt: Option<&AttemptCookie>,
        (sender, now): (&Caller, Timestamp),
    ) -> Result<LoggedIn, Problem> {
        let policy = self.reloading.policy();
        let done = policy.login()?.finish(callback, attempt, now).await?;
        let who = policy.by_session(done.session, now)?;
        Ok(LoggedIn {
            caller: Caller::new(who, &policy.masks, sender.address()),
            cookies: done.cookies,
            return_to: done.return_to,
        })
    }

    /// Ends the caller's session, or all that the person has; gives what removes the cookie.
    pub(crate) fn log_out(&self, caller: &Caller, everywhere: bool) -> Result<String, Problem> {
        let Proof::Session(session) = caller.who().proof() else {
            return Err(Problem::new(
                Code::Forbidden,
                "the request has no session that could end; a token is revoked with `ensue token revoke`",
            ));
        };
        let policy = self.reloading.policy();
        let login = policy.login()?;
        if everywhere && let Some(subject) = caller.name().strip_prefix(LOGIN_PREFIX) {
            login.sessions().close_of(subject);
        }
        Ok(login.end(*session))
    }

    /// When the caller's session ends, used or not.
    pub(crate) fn session_ends(&self, caller: &Caller) -> Option<Timestamp> {
        let policy = self.reloading.policy();
        match (policy.login(), caller.who().proof()) {
            (Ok(login), Proof::Session(session)) => login.sessions().ends(*session),
            _ => None,
        }
    }

    /// What identity providers said last.
    pub(crate) fn providers(&self) -> Vec<ProviderState> {
        self.reloading.providers().shown()
    }

    /// Whether nobody can be let in, as the keys of the issuers have not come yet, and no one else is known.
    pub(crate) fn waits_for_keys(&self, now: Timestamp) -> bool {
        self.reloading.policy().waits_for_keys(now)
    }

    /// Asks identity providers for their keys, when that is due.
    pub(crate) async fn follow_providers(&self, now: impl Fn() -> Timestamp) {
        let changed = || {
            self.changes.send_replace(());
        };
        self.reloading.providers().follow(now, changed).await;
    }

    /// Reads the files again; what cannot be used as a whole changes nothing. It waits for the disk.
    pub(crate) fn reload(&self, now: Timestamp) -> Result<Difference, ConfigError> {
        let difference = self.reloading.reload(now)?;
        self.changes.send_replace(());
        Ok(difference)
    }

    /// Reads the files again if they have changed. It waits for the disk.
    pub(crate) fn follow(&self, now: Timestamp) -> Result<Difference, ConfigError> {
        if self.reloading.has_changed() {
            self.reload(now)
        } else {
            Ok(Difference::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_who_can_reach_the_server() {
        for (text, reach) in [
            ("", "loopback"),
            ("insecure_let_everyone_in = true", "loopback"),
            (
                "listen = '0.0.0.0:0'\ninsecure_let_everyone_in = true",
                "everyone",
            ),
            (
                "listen = '[::]:0'\ninsecure_let_everyone_in = true\n[auth]\ntokens = 'none.json'",
                "everyone",
            ),
        ] {
            let config: Config = text.parse().unwrap();
            config.check().unwrap();
            let exposure = Security::open(&config).unwrap().exposure();
            assert_eq!(exposure.reach, reach, "{text}");
            assert_eq!(exposure.has_authentication, text.contains("[auth]"));
            assert!(!exposure.has_tls);
        }
    }
}
