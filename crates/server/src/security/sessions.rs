//! Sessions of people who have logged in: of limited number, idle time and age. They end with the
//! process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue::Timestamp;

use super::secrets::{random_text, sha256};

/// The most sessions, and the most of one person: those that were used least recently end.
const SESSIONS_MAX: usize = 10_000;
const PERSON_SESSIONS_MAX: usize = 20;

/// What a session is known by: the hash of its secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId([u8; 32]);

/// Whose a session is, as the provider said at the login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) subject: String,
    pub(super) roles: Vec<String>,
}

#[derive(Debug)]
struct Session {
    person: Arc<Person>,
    idle: Duration,
    used: Timestamp,
    ends: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.ends || now >= self.used.plus(self.idle)
    }
}

/// The sessions of a server.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionId, Session>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session, and gives its secret.
    pub(super) fn open(
        &self,
        person: Person,
        idle: Duration,
        max: Duration,
        now: Timestamp,
    ) -> Result<(String, SessionId), &'static str> {
        let secret = random_text()?;
        let id = SessionId::of(&secret);
        let session = Session {
            person: Arc::new(person),
            idle,
            used: now,
            ends: now.plus(max),
        };
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over(now));
        let subject = session.person.subject.clone();
        make_room(&mut sessions, PERSON_SESSIONS_MAX, |it| {
            it.person.subject == subject
        });
        make_room(&mut sessions, SESSIONS_MAX, |_| true);
        sessions.insert(id, session);
        Ok((secret, id))
    }

    /// Whose session has this secret, which is used now.
    pub(super) fn by_secret(
        &self,
        secret: &str,
        now: Timestamp,
    ) -> Option<(SessionId, Arc<Person>)> {
        let id = SessionId::of(secret);
        let mut sessions = self.lock();
        let session = sessions.get_mut(&id).filter(|it| !it.is_over(now))?;
        session.used = session.used.max(now);
        Some((id, session.person.clone()))
    }

    /// Whose session this is, if it has not ended. What goes on for long does not use it.
    pub(super) fn get(&self, id: SessionId, now: Timestamp) -> Option<Arc<Person>> {
        let sessions = self.lock();
        let session = sessions.get(&id).filter(|it| !it.is_over(now));
        session.map(|session| session.person.clone())
    }

    /// When it ends, used or not.
    pub(super) fn ends(&self, id: SessionId) -> Option<Timestamp> {
        self.lock().get(&id).map(|session| session.ends)
    }

    /// Ends a session.
    pub(super) fn close(&self, id: SessionId) {
        self.lock().remove(&id);
    }

    /// Ends all sessions of a person, and says how many there were.
    pub(super) fn close_of(&self, subject: &str) -> usize {
        let mut sessions = self.lock();
        let before = sessions.len();
        sessions.retain(|_, session| session.person.subject != subject);
        before - sessions.len()
    }
}

/// Removes the one that was used least recently, if there are `max` of them.
fn make_room(
    sessions: &mut HashMap<SessionId, Session>,
    max: usize,
    is_one: impl Fn(&Session) -> bool,
) {
    let of_them = || sessions.iter().filter(|(_, session)| is_one(session));
    if of_them().count() < max {
        return;
    }
    let oldest = of_them().min_by_key(|(_, session)| session.used);
    if let Some(id) = oldest.map(|(id, _)| *id) {
        sessions.remove(&id);
    }
}

impl SessionId {
    fn of(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const MAX: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn open(sessions: &Sessions, subject: &str, now: Timestamp) -> (String, SessionId) {
        let person = Person {
            issuer: "https://id.example".to_owned(),
            client_id: "ensue".to_owned(),
            subject: subject.to_owned(),
            roles: Vec::new(),
        };
        sessions.open(person, IDLE, MAX, now).unwrap()
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_at_last_though_it_is() {
        let sessions = Sessions::default();
        let (secret, id) = open(&sessions, "erika", at(0));
        assert!(secret.len() >= 43);
        assert!(sessions.by_secret(&secret, at(59)).is_some());
        assert!(sessions.get(id, at(118)).is_some());
        // To look is not to use.
        assert!(sessions.by_secret(&secret, at(119)).is_none());
        let (secret, _) = open(&sessions, "erika", at(0));
        for seconds in (0..600).step_by(50) {
            assert!(sessions.by_secret(&secret, at(seconds)).is_some());
        }
        assert!(sessions.by_secret(&secret, at(600)).is_none());
        assert!(sessions.by_secret("made up", at(0)).is_none());
    }

    #[test]
    fn a_session_is_kept_as_a_hash_and_closed_by_who_has_it_or_for_all_of_a_person() {
        let sessions = Sessions::default();
        let (secret, id) = open(&sessions, "erika", at(0));
        assert!(!format!("{sessions:?}").contains(&secret));
        let (other, _) = open(&sessions, "erika", at(0));
        let (of_rosa, _) = open(&sessions, "rosa", at(0));
        sessions.close(id);
        assert!(sessions.by_secret(&secret, at(0)).is_none());
        assert!(sessions.by_secret(&other, at(0)).is_some());
        assert_eq!(sessions.close_of("erika"), 1);
        assert!(sessions.by_secret(&other, at(0)).is_none());
        assert!(sessions.by_secret(&of_rosa, at(0)).is_some());
    }

    #[test]
    fn the_sessions_of_a_person_are_of_limited_number_and_take_nothing_from_others() {
        let sessions = Sessions::default();
        let (of_rosa, _) = open(&sessions, "rosa", at(0));
        let all: Vec<_> = (0..PERSON_SESSIONS_MAX as u64 + 1)
            .map(|number| open(&sessions, "erika", at(number)).0)
            .collect();
        let there = all
            .iter()
            .filter(|secret| sessions.by_secret(secret, at(30)).is_some());
        assert_eq!(there.count(), PERSON_SESSIONS_MAX);
        assert!(sessions.by_secret(&all[0], at(30)).is_none());
        assert!(sessions.by_secret(&of_rosa, at(30)).is_some());
    }
}
