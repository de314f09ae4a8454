//! Identity providers (OpenID Connect): their keys and endpoints, fetched in the background, and kept
//! while they are away.
//!
//! A request never fetches anything. One that shows a key that is not known asks for a fetch and waits
//! for it, once; how often that happens is bounded, as strangers make up keys.

mod metadata;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use axum::http::Uri;
use ensue::Timestamp;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(super) use self::metadata::Endpoints;
use self::metadata::Metadata;
use super::files::Files;
use super::jwk::Keys;
use super::secrets::sha256;
use crate::config::ConfigError;
use crate::outgoing::{Document, Documents, trusted_url};
use crate::problem::{Code, Problem};

/// How often keys are fetched without being asked for.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// How long to wait after the first failure; twice as long after each further one, up to the period.
const RETRY_MIN: Duration = Duration::from_secs(5);
/// How long a request waits for keys: for two documents, each of which may take half of it.
const WAIT: Duration = Duration::from_secs(10);
/// How many fetches requests may cause at once, and how long it takes until there is one more.
const TURNS_MAX: u32 = 3;
const TURN: Duration = Duration::from_secs(10);

/// What a provider is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProviderSettings {
    issuer: String,
    /// Without it, the issuer says where its keys are.
    keys_url: Option<Uri>,
    /// The authorities that it is trusted by, and the hash of what the file held.
    ca_file: Option<(PathBuf, [u8; 32])>,
}

/// An identity provider.
#[derive(Debug)]
pub(super) struct Provider {
    settings: ProviderSettings,
    documents: Documents,
    state: RwLock<State>,
    schedule: Mutex<Schedule>,
    /// Moves whenever a fetch has ended.
    fetched: watch::Sender<()>,
    wanted: Arc<Notify>,
}

/// What is known of it.
#[derive(Clone, Debug, Default)]
struct State {
    keys: Option<Arc<Keys>>,
    endpoints: Option<Arc<Endpoints>>,
    /// When that was fetched.
    at: Option<Timestamp>,
    /// Why nothing newer is known.
    problem: Option<String>,
}

/// When the next fetch is.
#[derive(Debug)]
struct Schedule {
    due: Instant,
    is_under_way: bool,
    /// In a row.
    failures: u32,
    turns: Turns,
}

/// How many fetches requests may cause.
#[derive(Debug)]
struct Turns {
    left: u32,
    since: Instant,
}

/// A provider, for the status.
#[derive(Clone, Debug)]
pub(crate) struct ProviderState {
    pub(crate) issuer: String,
    pub(crate) keys: Option<usize>,
    pub(crate) fetched: Option<Timestamp>,
    pub(crate) problem: Option<String>,
}

/// The providers of a server: they outlive a change of the files. Cloning gives the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Providers {
    known: Arc<Mutex<Vec<Weak<Provider>>>>,
    wanted: Arc<Notify>,
}

impl ProviderSettings {
    pub(super) fn read(
        setting: &'static str,
        issuer: &str,
        keys_url: Option<&str>,
        ca_file: Option<&Path>,
        files: &mut Files,
    ) -> Result<Self, ConfigError> {
        let invalid = |problem| ConfigError::Invalid {
            name: setting.to_owned(),
            problem,
        };
        let keys_url = keys_url.map(trusted_url).transpose().map_err(invalid)?;
        let ca_file = match ca_file {
            Some(path) => Some((path.to_owned(), sha256(&files.read(setting, path)?))),
            None => None,
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            keys_url,
            ca_file,
        })
    }
}

impl Turns {
    fn take(&mut self, now: Instant) -> bool {
        while self.left < TURNS_MAX && now.duration_since(self.since) >= TURN {
            self.left += 1;
            self.since += TURN;
        }
        if self.left == TURNS_MAX {
            self.since = now;
        }
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_there
    }
}

impl Provider {
    fn new(settings: ProviderSettings, wanted: Arc<Notify>) -> Result<Self, String> {
        let ca_file = settings.ca_file.as_ref().map(|(path, _)| path.as_path());
        let now = Instant::now();
        Ok(Self {
            documents: Documents::new(ca_file)?,
            settings,
            state: RwLock::default(),
            schedule: Mutex::new(Schedule {
                due: now,
                is_under_way: false,
                failures: 0,
                turns: Turns {
                    left: TURNS_MAX,
                    since: now,
                },
            }),
            fetched: watch::Sender::new(()),
            wanted,
        })
    }

    fn read(&self) -> State {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its keys, as they were fetched last.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.keys.clone()
    }

    /// Where people are sent to log in, if it says so.
    pub(super) fn endpoints(&self) -> Option<Arc<Endpoints>> {
        self.read().endpoints
    }

    /// What a caller is told while nothing is known of it.
    pub(super) fn unavailable(&self) -> Problem {
        Problem::new(
            Code::IssuerUnavailable,
            "the issuer of the credentials has not answered since this server was started, so nothing that \
             it signs can be verified; try again in a moment",
        )
    }

    /// Waits for a fetch, and says whether there was one: too many were asked for, otherwise.
    pub(super) async fn renewed(&self) -> bool {
        let mut fetched = self.fetched.subscribe();
        let is_coming = self.ask(Instant::now());
        is_coming && tokio::time::timeout(WAIT, fetched.changed()).await.is_ok()
    }

    fn ask(&self, now: Instant) -> bool {
        let mut schedule = self.schedule();
        if schedule.is_under_way || schedule.due <= now {
            return true;
        }
        if !schedule.turns.take(now) {
            return false;
        }
        schedule.due = now;
        self.wanted.notify_one();
        true
    }

    /// Whether a fetch is due; it is under way from then on.
    fn begin(&self) -> bool {
        let mut schedule = self.schedule();
        let begins = !schedule.is_under_way && schedule.due <= Instant::now();
        schedule.is_under_way |= begins;
        begins
    }

    /// When the next fetch is, unless one is under way.
    fn due(&self) -> Option<Instant> {
        let schedule = self.schedule();
        (!schedule.is_under_way).then_some(schedule.due)
    }

    /// Fetches, as was begun, and says whether other keys are known now.
    async fn refresh(&self, now: Timestamp) -> bool {
        let found = self.fetch().await;
        let mut schedule = self.schedule();
        schedule.is_under_way = false;
        schedule.failures = match found {
            Ok(_) => 0,
            Err(_) => schedule.failures.saturating_add(1),
        };
        schedule.due = Instant::now() + pause(schedule.failures);
        drop(schedule);
        let is_other = self.take(found, now);
        self.fetched.send_replace(());
        is_other
    }

    fn take(&self, found: Result<(Keys, Option<Endpoints>), String>, now: Timestamp) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let issuer = &self.settings.issuer;
        match found {
            Ok((keys, endpoints)) => {
                if state.problem.take().is_some() {
                    tracing::info!(issuer, "the issuer's keys were fetched again");
                }
                state.at = Some(now);
                state.endpoints = endpoints.map(Arc::new);
                let is_other = state.keys.as_deref() != Some(&keys);
                if is_other {
                    state.keys = Some(Arc::new(keys));
                }
                is_other
            }
            Err(problem) => {
                if state.problem.as_ref() != Some(&problem) {
                    let has_keys = state.keys.is_some();
                    tracing::warn!(issuer, problem, has_keys, "cannot fetch the issuer's keys");
                }
                state.problem = Some(problem);
                false
            }
        }
    }

    async fn fetch(&self) -> Result<(Keys, Option<Endpoints>), String> {
        let (keys_url, endpoints) = match &self.settings.keys_url {
            Some(url) => (url.clone(), None),
            None => {
                let metadata = Metadata::fetch(&self.documents, &self.settings.issuer).await?;
                (metadata.keys_url, metadata.endpoints)
            }
        };
        let json = self.documents.get(keys_url).await;
        let keys = json.and_then(|json| Keys::parse(&json));
        keys.map(|keys| (keys, endpoints))
            .map_err(|problem| format!("its set of keys (JWKS): {problem}"))
    }

    /// Sends a form to one of its endpoints. Says why nothing is answered.
    pub(super) async fn post_form(
        &self,
        uri: Uri,
        authorization: Option<axum::http::HeaderValue>,
        form: String,
    ) -> Result<Document, String> {
        self.documents.post_form(uri, authorization, form).await
    }

    fn shown(&self) -> ProviderState {
        let state = self.read();
        ProviderState {
            issuer: self.settings.issuer.clone(),
            keys: state.keys.map(|keys| keys.len()),
            fetched: state.at,
            problem: state.problem,
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => PERIOD,
        Some(more) => RETRY_MIN.saturating_mul(1 << more.min(10)).min(PERIOD),
    }
}

impl Providers {
    /// The provider with these settings: the one that there is, or a new one.
    pub(super) fn of(&self, settings: ProviderSettings) -> Result<Arc<Provider>, ConfigError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|provider| provider.strong_count() > 0);
        let mut there = known.iter().filter_map(Weak::upgrade);
        if let Some(provider) = there.find(|it| it.settings == settings) {
            return Ok(provider);
        }
        let made = Provider::new(settings, self.wanted.clone());
        let made = made.map_err(|problem| ConfigError::Invalid {
            name: "auth".to_owned(),
            problem: format!("has an issuer that cannot be asked: {problem}"),
        })?;
        let provider = Arc::new(made);
        known.push(Arc::downgrade(&provider));
        self.wanted.notify_one();
        Ok(provider)
    }

    fn all(&self) -> Vec<Arc<Provider>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter_map(Weak::upgrade).collect()
    }

    /// Fetches what is due, for as long as this is polled; `changed` is told of other keys. One that takes its
    /// time holds up no other.
    pub(super) async fn follow(&self, now: impl Fn() -> Timestamp, changed: impl Fn()) {
        let mut fetches = FuturesUnordered::new();
        loop {
            for provider in self.all() {
                if provider.begin() {
                    let now = now();
                    fetches.push(async move { provider.refresh(now).await });
                }
            }
            tokio::select! {
                Some(is_other) = fetches.next() => if is_other { changed() },
                () = self.due() => {}
            }
        }
    }

    /// Waits until something is due.
    async fn due(&self) {
        let due = self.all().iter().filter_map(|it| it.due()).min();
        let due = due.unwrap_or_else(|| Instant::now() + PERIOD);
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = self.wanted.notified() => {}
        }
    }

    pub(super) fn shown(&self) -> Vec<ProviderState> {
        self.all().iter().map(|it| it.shown()).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn what_fails_is_tried_again_at_growing_distances() {
        let seconds = |failures| pause(failures).as_secs();
        assert_eq!([1, 2, 3, 4].map(seconds), [5, 10, 20, 40]);
        assert_eq!([0, 7, 40, u32::MAX].map(seconds), [300; 4]);
    }

    fn settings(keys_url: Option<String>) -> ProviderSettings {
        ProviderSettings {
            issuer: "https://id.example".to_owned(),
            keys_url: keys_url.map(|url| url.parse().unwrap()),
            ca_file: None,
        }
    }

    /// Where keys are answered, or nothing ever is.
    async fn listen(answers: bool) -> (String, tokio::task::JoinHandle<()>) {
        const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if answers {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let length = KEYS.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    stream.write_all((head + KEYS).as_bytes()).await.unwrap();
                }
                open.push(stream);
            }
        });
        (url, task)
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_says_nothing_holds_up_no_other() {
        // While a thread is busy, time does not pass by itself; should this hang, it does, and ends it.
        let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
        let began = std::time::Instant::now();
        let busy = tokio::task::spawn_blocking(move || {
            while ended.try_recv().is_err() && began.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let ((there, _answers), (silent, _hangs)) = (listen(true).await, listen(false).await);
        let providers = Providers::default();
        let there = providers.of(settings(Some(there))).unwrap();
        let silent = providers.of(settings(Some(silent))).unwrap();
        let following = providers.clone();
        let following = tokio::spawn(async move {
            following.follow(|| Timestamp::EPOCH, || {}).await;
        });
        let mut fetched = there.fetched.subscribe();
        fetched.changed().await.unwrap();
        assert!(there.keys().is_some());
        // Asked for again, by a caller with a key that is not known.
        assert!(there.ask(Instant::now()));
        fetched.changed().await.unwrap();
        assert!(silent.schedule().is_under_way);
        assert_eq!(silent.schedule().failures, 0);
        following.abort();
        end.send(()).unwrap();
        busy.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_keys_cause_few_fetches() {
        let provider = Provider::new(settings(None), Arc::default()).unwrap();
        let mut fetches = 0;
        // A minute of requests, each with a key that the issuer never had.
        for _ in 0..600 {
            if provider.ask(Instant::now()) {
                let mut schedule = provider.schedule();
                fetches += u32::from(schedule.due <= Instant::now());
                schedule.due = Instant::now() + PERIOD;
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        // The first was due without being asked for.
        assert_eq!(fetches, 1 + TURNS_MAX + 5);
    }
}
