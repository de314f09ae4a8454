//! The secrets of one endpoint or sender: from a file, which is read again when it changes, or from
//! the environment.
//!
//! One secret a line, each with the time until which it is in force, if it ends: to rotate a secret,
//! write the new one above the old one and say how long both are to be used. Receivers of signatures
//! of both take either.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::secret::Secret;
use crate::private;

/// The largest text of secrets, in bytes, and the most of them.
const TEXT_BYTES_MAX: u64 = 16 * 1024;
const SECRETS_MAX: usize = 8;
/// How old what was read may be, before the file is looked at again.
const REREAD: Duration = Duration::from_secs(1);

/// Where secrets come from: `{ file = "…" }` or `{ env = "…" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// A variable of the environment, read at start.
    Env(String),
}

/// A secret, and until when it is in force.
#[derive(Debug)]
pub(super) struct Dated {
    pub(super) secret: Secret,
    pub(super) until: Option<Timestamp>,
}

impl Dated {
    pub(super) fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The secrets that there are now.
pub(super) struct Keyring {
    source: SecretSource,
    read: Mutex<Read>,
}

struct Read {
    text: String,
    secrets: Arc<Vec<Dated>>,
    at: Instant,
    trouble: Option<String>,
}

impl Keyring {
    /// Reads the secrets. Says why it cannot, without any of their text.
    pub(super) fn open(source: SecretSource) -> Result<Self, String> {
        let text = read(&source)?;
        let secrets = parse(&text).map_err(|problem| format!("{}: {problem}", Shown(&source)))?;
        Ok(Self {
            source,
            read: Mutex::new(Read {
                text,
                secrets: Arc::new(secrets),
                at: Instant::now(),
                trouble: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the file is not followed any more, if it is not: what it said before counts on.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// The secrets, those of a file as they are now.
    pub(super) async fn current(&self) -> Arc<Vec<Dated>> {
        if self.is_due() {
            let source = self.source.clone();
            if let Ok(text) = tokio::task::spawn_blocking(move || read(&source)).await {
                self.take(text);
            }
        }
        self.lock().secrets.clone()
    }

    /// Whether the file is to be read again; one caller does it.
    fn is_due(&self) -> bool {
        let mut read = self.lock();
        let is_due = matches!(self.source, SecretSource::File(_)) && read.at.elapsed() >= REREAD;
        if is_due {
            read.at = Instant::now();
        }
        is_due
    }

    fn take(&self, text: Result<String, String>) {
        let mut read = self.lock();
        let taken = match text {
            Ok(text) if text == read.text => Ok(()),
            Ok(text) => parse(&text).map(|secrets| {
                read.secrets = Arc::new(secrets);
                read.text = text;
                tracing::info!(file = %Shown(&self.source), "new secrets are in force");
            }),
            Err(problem) => Err(problem),
        };
        let trouble = taken.err();
        if let Some(problem) = &trouble
            && read.trouble.is_none()
        {
            tracing::warn!(
                file = %Shown(&self.source), problem,
                "secrets cannot be read: those from before stay in force"
            );
        }
        read.trouble = trouble;
    }

    /// The public keys of those that are in force, for receivers.
    pub(super) fn public_keys(&self, now: Timestamp) -> Vec<String> {
        let secrets = self.lock().secrets.clone();
        let in_force = secrets.iter().filter(|dated| dated.is_in_force(now));
        in_force.filter_map(|dated| dated.secret.public()).collect()
    }

    /// Whether one of them can sign.
    pub(super) fn can_sign(&self) -> bool {
        let secrets = self.lock().secrets.clone();
        secrets
            .iter()
            .any(|dated| !matches!(dated.secret, Secret::Public(_)))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A source, for people.
struct Shown<'a>(&'a SecretSource);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SecretSource::File(path) => write!(f, "the file `{}`", path.display()),
            SecretSource::Env(name) => write!(f, "the environment variable `{name}`"),
        }
    }
}

fn read(source: &SecretSource) -> Result<String, String> {
    let text = match source {
        SecretSource::File(path) => read_file(path),
        SecretSource::Env(name) => std::env::var(name).map_err(|error| error.to_string()),
    };
    text.map_err(|error| format!("{} cannot be read: {error}", Shown(source)))
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    private::check(&file).map_err(|problem| format!("it {problem}"))?;
    let read = file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    Ok(text)
}

/// The secrets of a text: one a line, empty lines and those that begin with `#` apart.
pub(super) fn parse(text: &str) -> Result<Vec<Dated>, String> {
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(format!("it has more than {TEXT_BYTES_MAX} bytes"));
    }
    let mut secrets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let of_line = |problem: String| format!("line {}: {problem}", index + 1);
        secrets.push(dated(line).map_err(of_line)?);
    }
    match secrets.len() {
        0 => Err("it has no secret; expected one a line, such as `whsec_…`".to_owned()),
        1..=SECRETS_MAX => Ok(secrets),
        many => Err(format!(
            "it has {many} secrets, the limit is {SECRETS_MAX}; remove those that have ended"
        )),
    }
}

fn dated(line: &str) -> Result<Dated, String> {
    let mut words = line.split_whitespace();
    let secret = Secret::parse(words.next().unwrap_or_default()).map_err(|it| it.to_string())?;
    let until = match (words.next(), words.next(), words.next()) {
        (None, _, _) => None,
        (Some("until"), Some(time), None) => {
            Some(time.parse::<Timestamp>().map_err(|it| it.to_string())?)
        }
        _ => {
            let expected = "after a secret comes nothing, or `until` and a time such as \
                            2030-01-31T12:00:00Z";
            return Err(expected.to_owned());
        }
    };
    Ok(Dated { secret, until })
}

#[cfg(test)]
mod tests {
    use super::super::secret::tests::{PRIVATE, SHARED};
    use super::*;

    #[test]
    fn a_text_has_a_secret_a_line_and_says_until_when_it_is_in_force() {
        let text = format!("# shop\n{PRIVATE}\n\n  {SHARED} until 2030-01-31T12:00:00Z\r\n");
        let secrets = parse(&text).unwrap();
        let until: Timestamp = "2030-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(secrets.len(), 2);
        assert_eq!(secrets[0].until, None);
        assert_eq!(secrets[1].until, Some(until));
        assert!(secrets[1].is_in_force(Timestamp::EPOCH) && !secrets[1].is_in_force(until));
    }

    #[test]
    fn a_text_that_is_not_one_of_secrets_is_refused_with_its_line_and_without_its_text() {
        for (text, part) in [
            ("", "no secret"),
            ("# only\n", "no secret"),
            ("hello", "line 1: a secret begins with"),
            (&format!("{SHARED}\nwhsec_?"), "line 2"),
            (&format!("{SHARED} until soon"), "line 1"),
            (&format!("{SHARED} 2030-01-31T12:00:00Z"), "`until`"),
            (&format!("{SHARED}\n").repeat(9), "9 secrets"),
            (&"#\n".repeat(10_000), "more than 16384 bytes"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
            assert!(!problem.contains("MfKQ"), "{problem}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets");
        drop(private::create(&path).unwrap());
        std::fs::write(&path, SHARED).unwrap();
        let keyring = Keyring::open(SecretSource::File(path.clone())).unwrap();
        let later = || tokio::time::advance(REREAD);
        assert_eq!(keyring.current().await.len(), 1);
        std::fs::write(&path, format!("{PRIVATE}\n{SHARED}")).unwrap();
        later().await;
        assert_eq!(keyring.current().await.len(), 2);
        std::fs::write(&path, "no secret").unwrap();
        later().await;
        assert_eq!(keyring.current().await.len(), 2);
        assert!(keyring.trouble().unwrap().contains("line 1"));
        std::fs::write(&path, SHARED).unwrap();
        later().await;
        assert_eq!(keyring.current().await.len(), 1);
        assert_eq!(keyring.trouble(), None);
        let missing = SecretSource::File(directory.path().join("missing"));
        assert!(
            Keyring::open(missing)
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_other_users_may_read_or_change_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets");
        drop(private::create(&path).unwrap());
        std::fs::write(&path, SHARED).unwrap();
        for (mode, part) in [(0o644, "read"), (0o660, "changed"), (0o602, "changed")] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let problem = Keyring::open(SecretSource::File(path.clone())).unwrap_err();
            let expected = format!("may be {part} by other users");
            assert!(problem.contains(&expected), "{mode:o}: {problem}");
        }
        for mode in [0o600, 0o400, 0o440] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Keyring::open(SecretSource::File(path.clone())).unwrap();
        }
    }
}
